"""A door with a stub behind it, asked by hand: what ASGI servers do, without a socket."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

from llama_serving.contract import keys as api_keys
from llama_serving.contract.door import Access, DoorSettings
from llama_serving.door.application import Door
from llama_serving.door.keys import KeyFolder, Keys
from llama_serving.door.refused_keys import RefusedKeys

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
FIRST, SECOND = (api_keys.make(bytes([letter]) * api_keys.RANDOM_BYTES) for letter in b"ab")
CHAT = b'{"model": "m", "messages": []}'


def entry(key, **fields):
    return api_keys.KeyEntry(tenant="team-a", sha256=key.sha256, **fields)


def write(folder, key, **fields):
    folder.mkdir(exist_ok=True)
    (folder / key.id).write_text(entry(key, **fields).model_dump_json())


@dataclass
class Answer:
    """What a client sees.

    Attributes:
        status: None if nothing was answered.
        headers: By name.
        body: All of it.
        passed: Scope that reached the stub; None if the request was refused.
        sent: Body that reached the stub.
        asked: How often the door asked for a part of the body.
    """

    status: int | None = None
    headers: list = field(default_factory=list)
    body: bytes = b""
    passed: dict | None = None
    sent: bytes = b""
    asked: int = 0

    def header(self, name):
        values = [value.decode() for key, value in self.headers if key.decode() == name]
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None

    @property
    def error(self):
        return json.loads(self.body)["error"]


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def scope_of(method="POST", path="/v1/chat/completions", headers=(), raw_path=None, **fields):
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode() if raw_path is None else raw_path,
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("10.0.0.1", 40000),
        "server": ("10.0.0.2", 8000),
        **fields,
    }


class Asked:
    """A door that can be asked, and its world."""

    def __init__(self, folder, *, access=Access.KEYS, to_board=False, body_seconds=60.0, **settings):
        self.folder, self.clock, self.wall = folder, Clock(), NOW
        # What the stub sends; None for words that come in parts.
        self.replies = None
        folder.mkdir(exist_ok=True)
        self.settings = DoorSettings(access=access, keys_folder=str(folder), **settings)
        self.keys = Keys(KeyFolder(folder), clock=self.clock, now=lambda: self.wall)
        ids = count(1)
        self.door = Door(
            self._stub,
            settings=self.settings,
            keys=self.keys,
            to_board=to_board,
            new_id=lambda: f"request-{next(ids)}",
            refused_keys=RefusedKeys(self.clock),
            body_seconds=body_seconds,
        )

    async def __call__(
        self, method="POST", path="/v1/chat/completions", *, key=None, headers=None, parts=None, **fields
    ):
        """Ask; `parts` is the body as it arrives, an ending `None` means that the client goes away."""
        answer = Answer()
        if parts is None:
            parts = [CHAT] if method == "POST" else []
        if headers is None:
            headers = [("content-type", "application/json")] if method == "POST" else []
            headers += [("content-length", str(sum(map(len, parts))))] if parts and None not in parts else []
        if key is not None:
            headers = [*headers, ("authorization", f"Bearer {key.text}")]
        messages = [
            {"type": "http.disconnect"} if part is None else {"type": "http.request", "body": part, "more_body": True}
            for part in parts
        ] or [{"type": "http.request", "body": b""}]
        if messages[-1]["type"] == "http.request":
            messages[-1]["more_body"] = False

        async def receive():
            answer.asked += 1
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                assert answer.status is None
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                answer.body += message.get("body", b"")

        self.answer = answer
        await self.door(scope_of(method, path, headers, **fields), receive, send)
        return answer

    async def _stub(self, scope, receive, send):
        answer, more = self.answer, True
        answer.passed = scope
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            answer.sent += message["body"]
            more = message["more_body"]
        answer.after = (await receive())["type"]
        if self.replies is not None:
            for message in self.replies:
                await send(message)
            return
        headers = [(b"content-type", b"text/plain"), (b"X-Request-ID", b"of-serve")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await send({"type": "http.response.body", "body": b" world"})
