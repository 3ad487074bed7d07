"""Sends drawn cases to a server, and says what must hold of the answers and of what reached the stub. `test_fuzz_door` calls it."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llama_serving.door.routes import HEALTH_PATH
from support.serving.door_fuzz.draw import KNOWN, LISTS, MOST_BYTES, POSTS, PUBLIC, Case, draw

AT_ONCE = 32
IDLE_SECONDS = 0.15
"""So long the client waits for an answer that need not come."""
MOST_SECONDS = 60.0
"""So long it waits for one that has to; a busy machine may need seconds."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n(.*?)\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_PUBLIC = set(PUBLIC)
_LISTED = {*POSTS, *LISTS, "/v1/models/meta-llama/Llama"}
_HEADERS = {"x-request-id", "content-type", "content-length", "accept", "traceparent", "tracestate"}


@dataclass
class Answers:
    """What a connection got back.

    Attributes:
        statuses: Of the answers that came whole, in order.
        bodies: Their bodies.
    """

    statuses: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@dataclass
class Outcome:
    """What came of many cases.

    Attributes:
        faults: What must not be, with the seed that shows it.
        statuses: How many answers had each status.
    """

    faults: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


async def send_all(seeds: Iterable[int], ports: Sequence[int]) -> Outcome:
    """Send the cases of `seeds`, some at once, to the servers at `ports` in turn."""
    outcome, waiting = Outcome(), iter(seeds)

    async def send_some() -> None:
        for seed in waiting:
            case = draw(seed)
            answers = await send(case, ports[seed % len(ports)])
            outcome.statuses.update(answers.statuses)
            outcome.faults += [f"seed {seed}: {fault}" for fault in faults_of(case, answers)]

    await asyncio.gather(*(send_some() for _ in range(AT_ONCE)))
    return outcome


def faults_of(case: Case, answers: Answers) -> list[str]:
    """What is wrong with the answers to `case`."""
    faults = [f"status {status}" for status in answers.statuses if status >= 500]
    if not case.is_clean:
        return faults
    # Requests that nothing is wrong with, on one connection: each gets its own answer.
    if len(answers.statuses) != len(case.requests):
        return [*faults, f"{len(case.requests)} requests got {len(answers.statuses)} answers"]
    for request, status, body in zip(case.requests, answers.statuses, answers.bodies, strict=True):
        expected = 200 if request.has_key or request.target in _PUBLIC else 401
        if status != expected:
            faults.append(f"{request.method} {request.target} got {status} instead of {expected}")
        elif status == 200 and request.method == "POST" and json.dumps(request.mark) not in json.loads(body)["body"]:
            faults.append(f"the answer to {request.mark} is that to another request: {body[:300]!r}")
    return faults


async def send(case: Case, port: int) -> Answers:
    """Send one case over a connection of its own, and read what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = bytearray()
    try:
        with contextlib.suppress(ConnectionError, TimeoutError):
            for piece in case.pieces:
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), MOST_SECONDS)
                await asyncio.sleep(0)
        wanted, patience = len(case.requests), MOST_SECONDS if case.is_clean else IDLE_SECONDS
        while len(parsed(received, case).statuses) < wanted:
            part = await asyncio.wait_for(reader.read(1 << 16), patience)
            if not part:
                break
            received += part
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return parsed(received, case)


def parsed(received: bytes | bytearray, case: Case) -> Answers:
    """Read answers out of what came back."""
    answers, place = Answers(), 0
    heads = [request.method == "HEAD" for request in case.requests]
    while (match := _STATUS.match(received, place)) is not None:
        status = int(match[1])
        if status < 200:
            place = match.end()
            continue
        number = len(answers.statuses)
        is_head = number < len(heads) and heads[number]
        length = _LENGTH.search(match[2])
        end = match.end() + (int(length[1]) if length and not is_head else 0)
        if end > len(received):
            break
        answers.statuses.append(status)
        answers.bodies.append(bytes(received[match.end() : end]))
        place = end
    return answers


def faults_of_records(path: Path) -> list[str]:
    """What is wrong with the requests that reached the stub."""
    faults = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            faults += [f"{fault}: {line[:500]}" for fault in _faults_of(record)]
    return faults


def _faults_of(record: dict) -> list[str]:
    checks = {
        "a path that is not listed": record["path"] in _PUBLIC | _LISTED
        or record["path"].startswith(("/licenses/", "/v1/models/")),
        "a path with dots": ".." not in record["path"] and "//" not in record["path"],
        "a request without a key": record["path"] in _PUBLIC
        or record["path"].startswith("/licenses/")
        or (record["key"], record["tenant"]) == (KNOWN.id, "team-a"),
        "a public request with a tenant": record["key"] is not None or record["tenant"] == "anonymous",
        "another method": record["method"] in _methods(record["path"]),
        "a query": record["query"] == "",
        "a header that is not handed on": {name for name, _ in record["headers"]} <= _HEADERS,
        "a header twice": len({name for name, _ in record["headers"]}) == len(record["headers"]),
        "a header that is not ASCII": all(value.isascii() for _, value in record["headers"]),
        "an id of the client": ["x-request-id", "mine"] not in record["headers"],
        "the key": KNOWN.secret not in json.dumps(record["headers"]),
        "a body that is too long": record["length"] <= MOST_BYTES,
        "a body in parts": record["whole"],
        "another length": record["method"] != "POST" or ["content-length", str(record["length"])] in record["headers"],
    }
    return [name for name, holds in checks.items() if not holds]


def _methods(path: str) -> tuple[str, ...]:
    if path in POSTS:
        return ("POST",)
    return ("GET", "HEAD") if path == HEALTH_PATH else ("GET",)
