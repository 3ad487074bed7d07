"""A program: the door on a real socket, as a replica of Ray Serve has it, with a stub behind that writes down what reached it.

`python -m support.serving.door_fuzz.server SETTINGS KEYS RECORDS`. It prints its port. A record is a line of JSON for each request.
"""

import json
import socket
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import uvicorn

from llama_serving.contract.door import DoorSettings
from llama_serving.door.application import Door
from llama_serving.door.keys import KeyFolder, Keys
from llama_serving.door.refused_keys import RefusedKeys

BODY_SECONDS = 1.0
KEPT = 200
"""Bytes of a body that are written down."""


class Stub:
    """Answers with what reached it."""

    def __init__(self, records: TextIO) -> None:
        self._records = records

    async def __call__(self, scope, receive, send):
        """Write the request down, and send it back."""
        message = await receive()
        body = message["body"]
        said = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
            "tenant": scope["llama.tenant"],
            "key": scope["llama.key"],
            "length": len(body),
            "whole": message["more_body"] is False,
            "body": body[:KEPT].decode("latin-1"),
        }
        text = json.dumps(said)
        self._records.write(f"{text}\n")
        answer = text.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def main(settings: str, keys: str, records: str) -> None:
    """Serve until the process is ended."""
    enforced = DoorSettings.model_validate_json(settings)
    table = Keys(KeyFolder(Path(keys)), now=lambda: datetime(2026, 3, 2, tzinfo=UTC))
    with Path(records).open("w", encoding="utf-8", buffering=1) as written:
        app = Door(
            Stub(written),
            settings=enforced,
            keys=table,
            to_board=False,
            new_id=lambda: uuid.uuid4().hex,
            refused_keys=RefusedKeys(),
            body_seconds=BODY_SECONDS,
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            print(listener.getsockname()[1], flush=True)
            # As Ray Serve configures it.
            config = uvicorn.Config(
                lambda: app, factory=True, lifespan="off", access_log=False, log_config=None, timeout_keep_alive=90
            )
            uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
