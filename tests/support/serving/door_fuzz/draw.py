"""Draws what a hostile client sends: bytes, in pieces, with a note of what they contain. `cases` sends them.

A case starts from one to five requests as a good client writes them, and spoils some: the path, the key, the headers, the body, the
framing, single bytes. What is drawn follows from the seed.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from llama_serving.contract import keys as api_keys

KNOWN, REVOKED, EXPIRED, UNKNOWN = (api_keys.make(bytes([n]) * api_keys.RANDOM_BYTES) for n in range(4))
MOST_BYTES = 128 * 1024
"""Longest body that the door of the fuzz lets in."""

POSTS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens")
PUBLIC = ("/about", "/licenses", "/licenses/m", "/llama/status", "/-/healthz", "/-/routes")
LISTS = ("/v1/models", "/v1/models/m", "/v1/models/meta-llama%2FLlama")
FORBIDDEN = (
    "/metrics",
    "/invocations",
    "/tokenize",
    "/v1/load_lora_adapter",
    "/docs",
    "/scale_elastic_ep",
    "/llama/about",
    "/",
)
OTHER = ("/v1/embeddings", "/v1/rerank", "/pooling")


@dataclass
class Request:
    """One request before it becomes bytes.

    Attributes:
        mark: Stands in its body, and so in the answer of the stub.
        spoiled: Whether anything of it is not as a good client writes it.
        has_key: Whether it shows the known key anywhere.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    mark: str
    has_key: bool
    spoiled: bool = False
    version: str = "HTTP/1.1"
    end: str = "\r\n"
    raw: bytes | None = None

    def header(self, name: str, value: str) -> None:
        """Set a header, or take it away if `value` is empty."""
        self.headers = [one for one in self.headers if one[0].lower() != name.lower()]
        if value:
            self.headers.append((name, value))

    def bytes(self) -> bytes:
        """As it goes over the wire."""
        if self.raw is not None:
            return self.raw
        lines = [f"{self.method} {self.target} {self.version}", *(f"{name}: {value}" for name, value in self.headers)]
        return self.end.join([*lines, "", ""]).encode("latin-1", "replace") + self.body


@dataclass
class Case:
    """What one connection sends.

    Attributes:
        pieces: What is sent at once, in order.
        requests: What they were made from.
        stops: Whether the client stops in the middle and waits.
    """

    pieces: list[bytes]
    requests: list[Request] = field(default_factory=list)
    stops: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether all requests are as a good client writes them, so that each has to be answered rightly."""
        return not self.stops and not any(request.spoiled for request in self.requests)


def draw(seed: int) -> Case:
    """Return the case of `seed`."""
    dice = random.Random(seed)  # noqa: S311 - a seed has to give the same case again
    requests = [good(dice, f"{seed}-{number}") for number in range(dice.choice((1, 1, 1, 1, 2, 3, 5)))]
    if dice.random() < 0.9:
        for _ in range(dice.choice((1, 1, 2, 3))):
            request = dice.choice(requests)
            request.spoiled = True
            dice.choice(SPOILS)(dice, request)
    whole = b"".join(request.bytes() for request in requests)
    if dice.random() < 0.15:
        whole = _flipped(dice, whole)
        requests[0].spoiled = True
    stops = dice.random() < 0.06
    if stops:
        whole = whole[: dice.randrange(1, len(whole) + 1)]
    return Case(_pieces(dice, whole), requests, stops)


def good(dice: random.Random, mark: str) -> Request:
    """A request as a good client writes it, with or without a key that is known."""
    known = dice.random() < 0.6
    headers = [("Host", "llama.example"), ("User-Agent", "client/1.0"), ("Accept", "*/*")]
    if known:
        headers.append(dice.choice((("Authorization", f"Bearer {KNOWN.text}"), ("x-api-key", KNOWN.text))))
    if dice.random() < 0.7:
        return _post(dice.choice(POSTS), headers, mark, known=known, pad="x" * dice.choice((0, 0, 10, 3000)))
    return Request("GET", dice.choice(PUBLIC + LISTS), headers, b"", mark, known)


def good_post(mark: str) -> Request:
    """A request for text, with a key that is known."""
    return _post(POSTS[0], [("Host", "llama.example"), ("x-api-key", KNOWN.text)], mark, known=True)


def _post(target: str, headers: list[tuple[str, str]], mark: str, *, known: bool, pad: str = "") -> Request:
    body = json.dumps({"model": "m", "mark": mark, "pad": pad}).encode()
    headers = [*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return Request("POST", target, headers, body, mark, known)


def _path(dice: random.Random, request: Request) -> None:
    games: tuple[Callable[[str], str], ...] = (
        lambda path: f"/{path}",
        lambda path: f"{path}/",
        lambda path: path.replace("/", "//"),
        lambda path: path.replace("/", "%2F"),
        lambda path: path.replace("a", "%61"),
        lambda path: path.replace("o", "%256f"),
        str.upper,
        lambda path: f"/about/..{path}",
        lambda path: f"/licenses/%2e%2e{path}",
        lambda path: f"/licenses/..%5C{path}",
        lambda path: f"{path}%00",
        lambda path: f"{path};x=y",
        lambda path: f"{path}?key={KNOWN.text}&beta=true",
        lambda path: f"{path}#fragment",
        lambda path: f"http://other.example{path}",
        lambda path: f"http://{KNOWN.text}@other.example:80{path}",
        lambda path: f"//other.example{path}",
        lambda path: path[1:],
        lambda path: f"{path}\xe9",
        lambda path: f"{path}%ff%fe",
        lambda path: f"{path}\t",
        lambda path: f"{path} /about",
        lambda _: "*",
        lambda _: "other.example:443",
        lambda _: "/licenses/" + "a" * dice.choice((511, 513, 5000)),
        lambda _: dice.choice(FORBIDDEN),
        lambda _: dice.choice(OTHER),
        lambda _: f"/licenses/..{dice.choice(FORBIDDEN)}",
        lambda _: f"/about/%2e%2e{dice.choice(FORBIDDEN)}",
    )
    request.target = dice.choice(games)(request.target)


def _method(dice: random.Random, request: Request) -> None:
    words = (
        "HEAD",
        "PUT",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "PATCH",
        "CONNECT",
        "PRI",
        "QUERY",
        "get",
        "post",
        "G",
        "POSTPOST",
        "M-SEARCH",
        "",
    )
    request.method = dice.choice(words)


def _version(dice: random.Random, request: Request) -> None:
    versions = (
        "HTTP/1.0",
        "HTTP/0.9",
        "HTTP/2.0",
        "HTTP/1.10",
        "http/1.1",
        "HTTP/1.1 ",
        "",
        "HTTP",
        "XTP/1.1",
        "HTTP/1.1\r\nX",
    )
    request.version = dice.choice(versions)


def _key(dice: random.Random, request: Request) -> None:
    request.header("x-api-key", "")
    request.header("Authorization", "")
    texts = [key.text for key in (KNOWN, REVOKED, EXPIRED, UNKNOWN)]
    texts += [
        "",
        "EMPTY",
        KNOWN.text[:-1],
        KNOWN.text.upper(),
        f" {KNOWN.text} ",
        f"{KNOWN.text}\0",
        "\xff" * 40,
        "a" * 20_000,
    ]
    text = dice.choice(texts)
    names = (
        "Authorization",
        "authorization",
        "x-api-key",
        "X-API-Key",
        "Proxy-Authorization",
        "Cookie",
        "api_key",
        "X_API_KEY",
    )
    forms = ("Bearer {}", "bearer  {}", "Bearer\t{}", "Basic {}", "{}", "Bearer {},Bearer {}", "Bearer {} {}")
    for _ in range(dice.choice((1, 1, 2, 3))):
        name = dice.choice(names)
        form = dice.choice(forms) if "uthor" in name else "{}"
        request.headers.append((name, form.format(text, dice.choice(texts))))
    # Whichever it is: whether the known key came in is for the records to say.
    request.has_key = True


def _headers(dice: random.Random, request: Request) -> None:
    evil = (
        ("serve_multiplexed_model_id", "../../etc"),
        ("Serve-Multiplexed-Model-Id", "other"),
        ("x-request-timeout-seconds", "0"),
        ("x-request-disconnect-disabled", "?1"),
        ("x-session-id", "s"),
        ("X-Vllm-Priority", "-100"),
        ("X-data-parallel-rank", "1"),
        ("x-request-id", "mine"),
        ("llama.tenant", "other"),
        ("x-forwarded-for", "127.0.0.1"),
        ("X-Original-URL", "/metrics"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Origin", "https://evil.example"),
        ("traceparent", "00-\xff-01"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "\xff"),
        ("Accept", "\xe9" * 10),
        ("Accept", "a" * 3000),
        ("X-Long", "a" * dice.choice((1000, 9000, 40_000))),
        ("X-Nul", "a\0b"),
        ("X-Fold", "a\r\n b"),
        ("X-Inject", "a\r\nx-api-key: b"),
        ("X-Bare", "a\nHost: b"),
        ("X-Cr", "a\rb"),
        ("X Space", "a"),
        ("X-Tab\t", "a"),
        ("", "empty"),
        ("X-\xe9", "a"),
        (":authority", "a"),
        ("Host", "other"),
        ("Host", ""),
        ("Connection", "close"),
        ("Connection", "keep-alive, x-api-key, authorization"),
        ("Connection", "Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
        (
            "Connection",
            "Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        ("Upgrade", "websocket"),
        ("Expect", "100-continue"),
        ("Expect", "200-ok"),
        ("TE", "trailers"),
        ("Trailer", "Authorization"),
        ("Content-Encoding", "gzip"),
        ("Content-Type", "text/plain"),
        ("Content-Type", "application/json; charset=utf-7"),
    )
    for _ in range(dice.choice((1, 1, 2, 5))):
        request.headers.insert(dice.randrange(len(request.headers) + 1), dice.choice(evil))
    if dice.random() < 0.1:
        request.headers += [("X-Many", str(number)) for number in range(dice.choice((100, 200, 1000)))]


def _framing(dice: random.Random, request: Request) -> None:
    """Two servers that read the length of a body differently see different requests behind it."""
    hidden = smuggled(dice)
    length = str(len(request.body))
    kind = dice.randrange(14)
    if request.method == "GET":
        request.body = hidden
    if kind == 0:
        request.headers.append(("Transfer-Encoding", "chunked"))
        request.body = b"0\r\n\r\n" + hidden
        request.header("Content-Length", str(len(request.body)))
    elif kind == 1:
        request.header("Content-Length", "")
        request.headers += [("Content-Length", length), ("Content-Length", str(len(request.body) + len(hidden)))]
        request.body += hidden
    elif kind == 2:
        request.header(
            "Content-Length",
            dice.choice(
                (f"+{length}", f"-{length}", f"0x{length}", f"{length},{length}", f"{length} 5", "9" * 40, "", "a")
            ),
        )
        request.body += hidden
    elif kind == 3:
        request.header("Content-Length", "0")
        request.body = hidden
    else:
        codings = (
            "chunked",
            " chunked",
            "Chunked",
            "xchunked",
            "chunked, identity",
            "identity",
            "gzip, chunked",
            "chunked\x0b",
            "\tchunked",
            '"chunked"',
            "chunked\r\nTransfer-Encoding: identity",
        )
        names = (
            "Transfer-Encoding",
            "Transfer-Encoding ",
            "transfer_encoding",
            "Transfer-encoding",
            "X: y\nTransfer-Encoding",
        )
        if dice.random() < 0.7:
            request.header("Content-Length", "")
        request.headers.append((dice.choice(names), dice.choice(codings)))
        request.body = chunked(dice, request.body) + (hidden if dice.random() < 0.5 else b"")


def chunked(dice: random.Random, body: bytes) -> bytes:
    """The body in chunks, rarely as it should be."""
    size = f"{len(body):x}"
    heads = (
        size,
        size,
        size,
        size.upper(),
        f"0{size}",
        f"{size};a=b",
        f"{size} ",
        f" {size}",
        f"+{size}",
        f"-{size}",
        f"0x{size}",
        "f" * 17,
        "ffffffff",
        f"{size};" + "a" * 5000,
        "",
        "g",
        f"{size}\n",
    )
    ends = (
        "0\r\n\r\n",
        "0\r\n\r\n",
        "0\r\n\r\n",
        "0\n\n",
        "00\r\n\r\n",
        "0\r\nAuthorization: x\r\nX: y\r\n\r\n",
        "0\r\n",
        "",
        "0;x\r\n\r\n",
        "-0\r\n\r\n",
    )
    return (
        dice.choice(heads).encode()
        + b"\r\n"
        + body
        + dice.choice(("\r\n", "\r\n", "\n", "")).encode()
        + dice.choice(ends).encode()
    )


def smuggled(dice: random.Random) -> bytes:
    """A whole request without a key, to be hidden in another one."""
    body = json.dumps({"mark": "smuggled"}).encode()
    target = dice.choice(POSTS + FORBIDDEN)
    return (
        f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def _body(dice: random.Random, request: Request) -> None:
    bodies = (
        b"",
        b"{",
        b"\0" * 100,
        b"[" * 10_000,
        b"\xff\xfe",
        b"a" * MOST_BYTES,
        b"a" * (MOST_BYTES + 1),
        b"a" * (MOST_BYTES + 1),
        b"a" * (MOST_BYTES * 4),
        smuggled(dice),
    )
    request.body = dice.choice(bodies)
    if dice.random() < 0.5:
        request.header("Content-Length", str(len(request.body)))
        return
    request.header("Content-Length", "")
    request.headers.append(("Transfer-Encoding", "chunked"))
    parts = [request.body[start : start + 40_000] for start in range(0, len(request.body), 40_000)]
    request.body = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts) + b"0\r\n\r\n"


def _length(dice: random.Random, request: Request) -> None:
    """The announced length is not that of the body."""
    request.header("Content-Length", str(max(0, len(request.body) + dice.choice((-30, -1, 1, 30, 10**6, 10**12)))))


def _ends(dice: random.Random, request: Request) -> None:
    request.end = dice.choice(("\n", "\r", "\n\r", "\r\r\n", "\r\n\r\n", "\0", ""))


def _garbage(dice: random.Random, request: Request) -> None:
    kinds = (
        dice.randbytes(dice.choice((1, 50, 5000))),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        bytes.fromhex("1603010200010001fc0303") + dice.randbytes(200),
        b"\r\n" * 100,
        b"GET /about\r\n\r\n",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET /about HTTP/1.1\r\n\r\n",
        b"GET /about HTTP/1.1\r\n" + b"A" * 70_000,
        b"A" * 70_000,
    )
    request.raw = dice.choice(kinds)


SPOILS = (
    *(_path, _path, _method, _version, _key, _key, _headers, _headers),
    *(_framing, _framing, _body, _body, _length, _ends, _garbage),
)


def _flipped(dice: random.Random, whole: bytes) -> bytes:
    """Some bytes changed, put in or taken out, most of them where the headers are."""
    text = bytearray(whole)
    for _ in range(dice.choice((1, 1, 2, 8, 30))):
        place = dice.randrange(min(len(text), dice.choice((100, 600, len(text)))) or 1)
        kind = dice.randrange(3)
        if kind == 0 and text:
            text[place] = dice.randrange(256)
        elif kind == 1:
            text[place:place] = dice.choice((b"\r\n", b"\0", b" ", b"\t", b":", b"\xff", b"\r", b"\n", b"/", b"%"))
        else:
            del text[place : place + dice.choice((1, 2, 10))]
    return bytes(text) or b"\0"


def _pieces(dice: random.Random, whole: bytes) -> list[bytes]:
    """The bytes as they are sent: mostly at once, sometimes drop by drop."""
    kind = dice.random()
    if kind < 0.8:
        return [whole]
    if kind < 0.95:
        place = dice.randrange(len(whole) + 1)
        return [whole[:place], whole[place:]]
    size = max(1, len(whole) // 40)
    return [whole[start : start + size] for start in range(0, len(whole), size)]
