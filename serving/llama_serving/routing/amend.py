"""Puts into the configuration of HAProxy that Ray Serve has written what Serve has no setting for. Pure; `launcher` calls it.

That is the choice of a replica, a time for the headers of a request, an address for the page of statistics, a slow start of replicas
that come back, and what becomes of requests that meet a replica on its way out. What the module knows of that configuration is private
to Ray: the names of the sections, and how it writes their lines.

Ray has an own way to ask a process of its own for a replica; it answers 503 when that process does not answer, it does not
see who asks, and it knows no load. So HAProxy chooses by itself, with `choose.lua`: nothing can be down, and a request
whose replica cannot be chosen goes by least connections.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llama_serving.contract.haproxy import HEADER_SECONDS
from llama_serving.contract.routing import Routing

ENGINE_BACKEND: Final = "http-llama"
"""How Ray names the section with the replicas: the protocol and `config.APPLICATION_NAME`."""

_FRONTEND: Final = "frontend http_frontend"
_DEFAULTS: Final = "defaults"
_STATISTICS: Final = "listen stats"
_OF_SERVE: Final = "backend http-"
"""How the sections begin that have replicas."""
_PAGE: Final = re.compile(r"(\s+bind )\*(:\d+)")
_FEWEST_REPLICAS: Final = 2
_SERVER: Final = re.compile(r"\s+server (\S+) ")
_ERRORS: Final = re.compile(r" error-limit (\d+)")
"""After how many connections that failed, one after the other, HAProxy takes a replica for down."""
_FEWEST_RETRIES: Final = 3
"""HAProxy's own number."""
_SECTION: Final = re.compile(r"\S")
_PATHS: Final = "/v1/chat/completions /v1/completions /v1/responses /v1/messages"
BODY_SECONDS: Final = 120
"""How long HAProxy waits for the part of a body that it reads, as long as the door; a client that is slower gets 408."""
RETURN_SECONDS: Final = 10
"""How long the part of a replica that was down grows to its whole. Chosen by simulation, see docs/data-plane.md."""

_CONNECTIONS: Final = "txn.llama_connections_"
_SCRIPT: Final = Path(__file__).with_name("choose.lua")


@dataclass(frozen=True, slots=True)
class Amended:
    """What HAProxy is started with.

    Attributes:
        config: The configuration.
        script: The program that chooses the replica.
    """

    config: str
    script: str


def hardened(config: str) -> str:
    """Return the configuration with a time for all headers of a request, and the page of statistics on the loopback address only.

    Without the time a client that sends drop by drop holds one of the connections for as long as it likes.

    Args:
        config: What Ray has written.

    Raises:
        ValueError: If Ray wrote the configuration in another form than this module knows.
    """
    lines = config.splitlines()
    page = next((place for place, line in enumerate(lines) if line == _STATISTICS), len(lines))
    if _DEFAULTS not in lines or not any(map(_PAGE.fullmatch, lines[page:])):
        raise ValueError(f"the configuration has no section `{_DEFAULTS}`, or no `{_STATISTICS}` on all addresses")
    lines[page:] = [_PAGE.sub(r"\g<1>127.0.0.1\2", line) for line in lines[page:]]
    limits = [
        f"    timeout http-request {HEADER_SECONDS}s",
        # The time counts for a connection that was opened ahead too: such a one is closed, and nothing is answered.
        "    option http-ignore-probes",
    ]
    place = lines.index(_DEFAULTS) + 1
    lines[place:place] = limits
    return "".join(f"{line}\n" for line in lines)


def eased(config: str) -> str:
    """Return the configuration in which a replica that was down gets its part of the requests step by step.

    Without it the replica has the fewest connections, and gets every request until it has as many as the others. HAProxy does
    so only for what it has seen down. A change of replicas starts another process, which counts anew: a new replica then has
    as many connections as all others, none, and gets an equal part at once.

    Args:
        config: What Ray has written; one without replicas is returned as it is.
    """
    lines = config.splitlines()
    backend = f"backend {ENGINE_BACKEND}"
    if backend not in lines:
        return config
    lines.insert(lines.index(backend) + 1, f"    default-server slowstart {RETURN_SECONDS}s")
    return "".join(f"{line}\n" for line in lines)


def repeating(config: str) -> str:
    """Return the configuration in which a process of HAProxy that ends sends a request again if nobody answers it.

    HAProxy's old process serves the connections that it has when replicas change, and the next request of each. It knows only the
    replicas of before, and does not ask any more whether they are there. So a request may meet a replica that closes in that
    moment. And if several are gone, it meets all of them first, because they have the fewest connections.

    The new process never sends again what a replica may have read: there an empty answer means that the replica broke over the
    request, and the next one would too.

    Args:
        config: What Ray has written; a section without replicas stays as it is.
    """
    given = config.splitlines()
    lines = []
    for line in given:
        lines.append(line)
        if line.startswith(_OF_SERVE):
            servers = _servers(given, line)
            if servers:
                lines += (
                    "    retry-on conn-failure empty-response",
                    f"    retries {max(_FEWEST_RETRIES, sum(map(_errors, servers)))}",
                    "    http-request disable-l7-retry unless { stopping }",
                    # What has come in whole, and is no longer than HAProxy's buffer, can be sent again.
                    f"    http-request wait-for-body time {BODY_SECONDS}s if {{ stopping }}",
                )
    return "".join(f"{line}\n" for line in lines)


def _servers(lines: Sequence[str], section: str) -> list[str]:
    """The lines of a section that name a server."""
    found = []
    here = ""
    for line in lines:
        if _SECTION.match(line):
            here = line
        if here == section and _SERVER.match(line):
            found.append(line)
    return found


def _errors(server: str) -> int:
    limit = _ERRORS.search(server)
    return int(limit[1]) if limit else 1


def amended(config: str, routing: Routing, *, script: str, keys_folder: str | None) -> Amended | None:
    """Return the configuration in which HAProxy chooses replicas by `routing`.

    Args:
        config: What Ray has written.
        routing: By what to choose.
        script: Where the program will be.
        keys_folder: Folder with the hashes of keys, which say whose tenant a key is; None if the endpoint asks for none.

    Returns:
        None if there is nothing to choose from: no replica, or one.

    Raises:
        ValueError: If Ray wrote the configuration in another form than this module knows.
    """
    lines = config.splitlines()
    replicas = _replicas(lines)
    if routing is Routing.LEAST_CONNECTIONS or len(replicas) < _FEWEST_REPLICAS:
        return None
    if "global" not in lines or _FRONTEND not in lines:
        raise ValueError(f"the configuration has no section `global` or no section `{_FRONTEND}`")
    return Amended(
        config="".join(f"{line}\n" for line in _with_choice(lines, replicas, script)),
        script=_settings(routing, replicas, keys_folder) + _SCRIPT.read_text(encoding="utf-8"),
    )


def _replicas(lines: Sequence[str]) -> list[str]:
    """Names of the servers with an engine. The one that Ray marks as a backup has none: it wakes one."""
    servers = _servers(lines, f"backend {ENGINE_BACKEND}")
    return [line.split()[1] for line in servers if " backup" not in line]


def _with_choice(lines: Sequence[str], replicas: Sequence[str], script: str) -> Iterator[str]:
    section = ""
    asked = False
    for line in lines:
        if _SECTION.match(line):
            section = line
        if section == _FRONTEND and not asked and line.lstrip().startswith(("use_backend ", "default_backend ")):
            asked = True
            yield from _question(replicas)
        yield line
        if line == "global":
            # One for all threads: what one of them learns the others know.
            yield f"    lua-load {script}"
        if line == f"backend {ENGINE_BACKEND}":
            # A replica that is down or gone leaves the request to the balance of the section.
            yield "    use-server %[var(txn.llama_replica)] if { var(txn.llama_replica) -m found }"


def _question(replicas: Sequence[str]) -> Iterator[str]:
    answers = "METH_POST llama_answers"
    yield f"    acl llama_answers path {_PATHS}"
    # Without it only what came with the headers could be read.
    yield f"    http-request wait-for-body time {BODY_SECONDS}s if {answers}"
    for number, replica in enumerate(replicas, 1):
        place = f"{ENGINE_BACKEND}/{replica}"
        yield f"    http-request set-var({_CONNECTIONS}{number}) srv_conn({place}) if {answers} {{ srv_is_up({place}) }}"
    yield f"    http-request lua.llama_choose if {answers}"


def _settings(routing: Routing, replicas: Sequence[str], keys_folder: str | None) -> str:
    names = ", ".join(map(_quoted, replicas))
    folder = "nil" if keys_folder is None else _quoted(keys_folder)
    return (
        f"local BY_PREFIX = {str(routing is Routing.PREFIX_AWARE).lower()}\n"
        f"local REPLICAS = {{{names}}}\n"
        f"local CONNECTIONS = {_quoted(_CONNECTIONS)}\n"
        f"local KEYS_FOLDER = {folder}\n"
    )


def _quoted(text: str) -> str:
    """Write `text` for Lua."""
    return '"' + "".join(one if one.isalnum() and one.isascii() else f"\\{ord(one):03d}" for one in text) + '"'
