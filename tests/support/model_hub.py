"""A server on this machine that speaks as much of the Hub's API as its own client asks for. Used by the tests of `serving`.

Beside it, on another name of this machine, is the storage that the Hub sends large files from. `Repository` tells what was asked
of both, and takes what shall go wrong.
"""

import contextlib
import hashlib
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SIGNATURE = "c2lnbmF0dXJl"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Repository:
    """One repository at one commit.

    Attributes:
        name: `owner/name`.
        files: Content by path.
        sizes: Sizes that are listed, other than they are.
        token: The one that opens it; None for all.
        downloads: Files whose content somebody asked for, in order, and from where in the file.
        requests: (method, path, token) of every request.
        flips: How often a file comes with a wrong bit; -1 for always.
        hangs: Files that stop after so many bytes, and how often; -1 for always.
        breaks: Files whose connection breaks after so many bytes, and how often.
        expires_after: Downloads after which the token is worth nothing.
        storage_status: What the storage answers instead of content.
        storage_refuses: How often it does so; -1 for always.
        status: What the Hub answers to everything.
        lists_nothing: Whether it is a mirror that has files and no list of them.
        xet: Xet's hash of the files that are in Xet.
        cas: Where those are; `local://FOLDER`, which Xet's client knows too, or the empty text for a server that never answers.
        ends: Set when the server goes: nobody hangs longer.
    """

    name: str
    files: dict[str, bytes]
    sizes: dict[str, int] = field(default_factory=dict)
    token: str | None = None
    downloads: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    flips: dict[str, int] = field(default_factory=dict)
    hangs: dict[str, list[int]] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    expires_after: int | None = None
    storage_status: int | None = None
    storage_refuses: int = -1
    status: int | None = None
    lists_nothing: bool = False
    xet: dict[str, str] = field(default_factory=dict)
    cas: str = ""
    ends: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_large(self, path):
        return path.endswith(".safetensors")

    def etag(self, path):
        content = self.files[path]
        if self.is_large(path):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - Git's name

    def entry(self, path):
        size = self.sizes.get(path, len(self.files[path]))
        entry = {"type": "file", "path": path, "size": size, "oid": self.etag(path)[:40]}
        if path in self.xet:
            entry["xetHash"] = self.xet[path]
        if self.is_large(path):
            entry["lfs"] = {"oid": self.etag(path), "size": size, "pointerSize": 134}
        return entry

    def takes(self, plan, path):
        """Whether what was planned for `path` happens now; it is counted down."""
        with self.lock:
            left = plan.get(path, 0)
            plan[path] = left - 1 if left > 0 else left
            return left != 0

    def at(self, plan, path):
        """After how many bytes what was planned for `path` happens now; None if it does not."""
        with self.lock:
            after, left = plan.get(path, (0, 0))
            plan[path] = [after, left - 1 if left > 0 else left]
            return after if left != 0 else None


class _Handler(http.server.BaseHTTPRequestHandler):
    repository: Repository
    hub_name: str
    storage_name: str

    def _address(self, name):
        return f"http://{name}:{self.server.server_port}"

    def do_GET(self):
        repository, url = self.repository, urlsplit(self.path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        repository.requests.append((self.command, self.path, token))
        if url.path.startswith("/xet/"):
            repository.downloads.append(url.path)
            repository.ends.wait()
            self.close_connection = True
            return
        if url.path.startswith("/storage/"):
            self._storage(url)
            return
        if repository.status is not None:
            self._answer(repository.status)
            return
        if not self._is_let_in(token):
            return
        file = url.path.removeprefix(f"/{repository.name}/resolve/{COMMIT}/")
        if url.path == f"/api/models/{repository.name}/tree/{COMMIT}" and not repository.lists_nothing:
            self._list(parse_qs(url.query))
        elif url.path == f"/api/models/{repository.name}/revision/{COMMIT}" and not repository.lists_nothing:
            siblings = [{"rfilename": path} for path in repository.files]
            told = {"id": repository.name, "sha": COMMIT, "siblings": siblings}
            self._answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
        elif url.path == f"/api/models/{repository.name}/xet-read-token/{COMMIT}":
            cas = repository.cas or f"{self._address(self.storage_name)}/xet"
            self._answer(
                200, b"{}", {"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": "4102444800"}
            )
        elif file in repository.files:
            self._file(file)
        elif "/resolve/" in url.path and url.path.startswith(f"/{repository.name}/"):
            found = COMMIT in url.path
            self._answer(404, error="EntryNotFound" if found else "RevisionNotFound")
        else:
            self._answer(404, error="RepoNotFound")

    do_HEAD = do_GET  # noqa: N815 - the library calls it by this name

    def log_message(self, *arguments):
        pass

    def _is_let_in(self, token):
        repository = self.repository
        is_over = repository.expires_after is not None and len(repository.downloads) >= repository.expires_after
        if repository.token is None or (token == repository.token and not is_over):
            return True
        if token and token != repository.token and token.startswith("hf_stranger"):
            self._answer(403, error="GatedRepo", message="you are not in the authorized list")
        else:
            self._answer(401, message="Invalid username or password.")
        return False

    def _list(self, query):
        repository = self.repository
        entries = [repository.entry(path) for path in repository.files if "recursive" in query or "/" not in path]
        entries.append({"type": "directory", "path": "original", "oid": "x"})
        self._answer(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})

    def _file(self, path):
        repository = self.repository
        etag, content = repository.etag(path), repository.files[path]
        if repository.is_large(path):
            where = f"{self._address(self.storage_name)}/storage/{path}?X-Amz-Signature={SIGNATURE}"
            more = {"Location": where, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            if path in repository.xet:
                route = f"{self._address(self.hub_name)}/api/models/{repository.name}/xet-read-token/{COMMIT}"
                more |= {"X-Xet-Hash": repository.xet[path], "X-Xet-Refresh-Route": route}
            self._answer(302, b"", more)
        elif self.command == "HEAD":
            self._answer(200, content, {"ETag": f'"{etag}"'})
        else:
            self._content(path, {"ETag": f'"{etag}"'})

    def _storage(self, url):
        repository = self.repository
        if repository.storage_status is not None and repository.storage_refuses != 0:
            repository.storage_refuses -= 1
            self._answer(repository.storage_status)
        elif parse_qs(url.query).get("X-Amz-Signature") != [SIGNATURE]:
            self._answer(403)
        else:
            self._content(url.path.removeprefix("/storage/"), {})

    def _content(self, path, headers):
        repository, content, status = self.repository, self.repository.files[path], 200
        repository.downloads.append(path)
        if repository.takes(repository.flips, path):
            content = bytes([content[0] ^ 1]) + content[1:]
        if wanted := _RANGE.fullmatch(self.headers.get("Range", "")):
            first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
            headers = headers | {"Content-Range": f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"}
            content, status = content[first : last + 1], 206
        hang, broken = repository.at(repository.hangs, path), repository.at(repository.breaks, path)
        if hang is None and broken is None:
            self._answer(status, content, headers)
            return
        self._answer(status, content, headers, most=hang if broken is None else broken)
        if broken is None:
            repository.ends.wait()
        self.close_connection = True

    def _answer(self, status, body=b"", headers=None, *, error=None, message=None, most=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in ((headers or {}) | {"X-Error-Code": error, "X-Error-Message": message}).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(body[:most])


def put_into_xet(repository, folder):
    """Put the large files into a folder that Xet's own client takes for its store."""
    import hf_xet  # noqa: PLC0415 - only some tests need it

    (folder / "cas").mkdir(parents=True)
    repository.cas = f"local://{folder / 'cas'}"
    for path in filter(repository.is_large, repository.files):
        file = folder / path
        file.write_bytes(repository.files[path])
        with hf_xet.XetSession().new_upload_commit(endpoint=repository.cas) as commit:
            upload = commit.start_upload_file(str(file))
        repository.xet[path] = upload.result().xet_info.hash


@contextlib.contextmanager
def serving(repository, address="127.0.0.1", port=0, *, hub_name="127.0.0.1", storage_name="localhost"):
    """Serve a repository. Gives the address of the Hub.

    Args:
        repository: What it has.
        address: Where it listens.
        port: The port; 0 for one that is free.
        hub_name: Host by which clients find the Hub.
        storage_name: Host by which they find its storage: another one, to which no token may go.
    """
    names = {"repository": repository, "hub_name": hub_name, "storage_name": storage_name}
    handler = type("Handler", (_Handler,), names)
    with http.server.ThreadingHTTPServer((address, port), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://{hub_name}:{server.server_port}"
        finally:
            repository.ends.set()
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def hub(repository, files, sizes=()):
    """Serve `files` as the repository; `sizes` says the size of a file other than it is. Gives address and repository."""
    served = Repository(repository, files, dict(sizes))
    with serving(served) as address:
        yield address, served
