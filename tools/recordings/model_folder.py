"""Folders and Hubs with the generated model, each with one thing wrong with it. Used by `recordings.engines`."""

import contextlib
import http.server
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from llama_serving.generated import checkpoint

REPOSITORY: Final = "acme/tiny-llama"
_COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"
_LOOPBACK: Final = "127.0.0.1"


def copied(folder: Path) -> Path:
    """A copy of the generated model, to be broken."""
    shutil.copytree(checkpoint.ensure(checkpoint.default_folder()), folder)
    return folder


def weights(folder: Path) -> list[Path]:
    """Its weight files."""
    return sorted(folder.glob("*.safetensors"))


def cut(folder: Path, keep: Callable[[bytes], bytes]) -> None:
    """Leave of each weight file only what `keep` makes of it."""
    for file in weights(folder):
        file.write_bytes(keep(file.read_bytes()))


def configured(folder: Path, **changes: Any) -> None:
    """Change what config.json says."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub's API as its own client asks for, with the errors that the Hub tells by headers."""

    folder: Path
    refusal: tuple[HTTPStatus, str, str] | None

    def do_GET(self) -> None:
        """Answer about the repository, or refuse as the Hub does."""
        path = urlsplit(self.path).path
        if self.refusal is not None:
            status, code, message = self.refusal
            headers = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
            self._answer(status, json.dumps({"error": message}).encode(), headers)
            return
        name = path.rpartition("/")[2]
        if path.startswith(f"/api/models/{REPOSITORY}/tree/"):
            files = [
                {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": one.name} for one in self._all
            ]
            self._answer(HTTPStatus.OK, json.dumps(files).encode(), {})
        elif path.startswith(f"/api/models/{REPOSITORY}"):
            siblings = [{"rfilename": one.name} for one in self._all]
            about = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": _COMMIT, "siblings": siblings, "tags": []}
            self._answer(HTTPStatus.OK, json.dumps(about).encode(), {})
        elif "/resolve/" in path and (self.folder / name).is_file():
            self._answer(HTTPStatus.OK, (self.folder / name).read_bytes(), {"ETag": f'"{name}"'})
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"{}", {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET  # noqa: N815 - the library calls it by this name

    def log_message(self, *_: Any) -> None:  # type: ignore[override]
        """Say nothing."""

    @property
    def _all(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def _answer(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"X-Repo-Commit": _COMMIT, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def hub(folder: Path, refusal: tuple[HTTPStatus, str, str] | None = None) -> Iterator[str]:
    """Play the Hub; with a refusal (status, error code and message in headers) it answers only that. Yields the address."""
    handler = type("Hub", (_Hub,), {"folder": folder, "refusal": refusal})
    with http.server.ThreadingHTTPServer((_LOOPBACK, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{_LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind((_LOOPBACK, 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own that is soon full (root)."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
