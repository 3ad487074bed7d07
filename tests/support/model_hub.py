"""A server on this machine that speaks as much of the Hub's API as its own client asks for. Used by the tests of `serving`."""

import contextlib
import http.server
import json
import threading
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Repository(http.server.BaseHTTPRequestHandler):
    """One repository at one commit. `downloads` are the names that somebody fetched."""

    name: str
    files: dict[str, bytes]
    sizes: dict[str, int]
    downloads: list[str]

    def do_GET(self):
        path = urlsplit(self.path).path
        file = path.removeprefix(f"/{self.name}/resolve/{COMMIT}/")
        if path == f"/api/models/{self.name}/tree/{COMMIT}":
            entries = [
                {"type": "file", "path": name, "size": self.sizes.get(name, len(content)), "oid": name}
                for name, content in self.files.items()
            ]
            entries.append({"type": "directory", "path": "original", "oid": "x"})
            self._answer(200, json.dumps(entries).encode(), "application/json")
        elif file in self.files:
            self.downloads.append(file)
            self._answer(200, self.files[file], "application/octet-stream")
        else:
            self._answer(404, b"{}", "application/json")

    do_HEAD = do_GET  # noqa: N815 - the library calls it by this name

    def log_message(self, *arguments):
        pass

    def _answer(self, status, body, media):
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hash(body) & 0xFFFFFFFF:x}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def hub(repository, files, sizes=()):
    """Serve `files` as the repository; `sizes` says the size of a file other than it is. Gives address and repository."""
    handler = type(
        "Repository", (_Repository,), {"name": repository, "files": files, "sizes": dict(sizes), "downloads": []}
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
