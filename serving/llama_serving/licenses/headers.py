"""Adds response headers with what the licenses ask to show. Pure ASGI: a stream passes chunk by chunk, as it came.

`ingress` puts the middleware around the OpenAI routes. Headers by themselves fulfill no license: they are for programs; the
about page is for people.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from llama_serving.config import (
    ATTRIBUTION_HEADER,
    OUTPUT_TERMS_HEADER,
    LicenseDuties,
    LicenseFamilyDuties,
    OutputTerms,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

_ROUTES: Final = ("/v1/", "/tokenize", "/detokenize")
_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
_EXPOSE: Final = b"access-control-expose-headers"


class LicenseHeaders:
    """Adds headers to every answer of an OpenAI route, errors and streams included.

    Args:
        app: The application.
        headers: Returns the headers. It is called for each answer, because a Serve ingress exists before its config.
    """

    def __init__(self, app: ASGIApp, *, headers: Callable[[], Headers]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer back as it comes."""
        if scope["type"] != "http" or not str(scope["path"]).startswith(_ROUTES):
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _merged(message.get("headers", ()), self._headers())}
            await send(message)

        await self._app(scope, receive, with_headers)


def headers_of(duties: LicenseDuties | None) -> Headers:
    """Return the headers for `duties`: none if no license asks for anything."""
    if duties is None:
        return ()
    values = {ATTRIBUTION_HEADER: ", ".join(attributions(duties)), OUTPUT_TERMS_HEADER: output_terms(duties)}
    return tuple((name.encode(), value.encode("ascii")) for name, value in values.items() if value)


def attributions(duties: LicenseDuties | None) -> tuple[str, ...]:
    """Return the lines to display, without repetition."""
    families = () if duties is None else duties.families
    return tuple(dict.fromkeys(family.attribution for family in families if family.attribution is not None))


def output_terms(duties: LicenseDuties) -> str:
    """Return the terms of every family for the output, strictest first; all of them apply.

    The form is a list of tokens with parameters (RFC 9651): `AllowedWithName; family="llama-3.3"; name-prefix="Llama"`.
    """
    bound = [family for family in duties.families if family.output_use is not OutputTerms.UNRESTRICTED]
    return ", ".join(_term(family) for family in sorted(bound, key=lambda family: family.output_use.strictness))


def _term(family: LicenseFamilyDuties) -> str:
    term = f'{family.output_use}; family="{family.id}"'
    if family.output_use is OutputTerms.ALLOWED_WITH_NAME and family.name_prefix is not None:
        term += f"; name-prefix={_quoted(family.name_prefix)}"
    return term


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _merged(present: Any, ours: Headers) -> list[tuple[bytes, bytes]]:
    """Return `present` with our headers; if scripts in browsers may see the answer, they may see these headers too."""
    if not ours:
        return list(present)
    names = {name for name, _ in ours}
    merged = [(name, value) for name, value in present if name.lower() not in names] + list(ours)
    if any(name.lower() == _ALLOW_ORIGIN for name, _ in merged):
        merged.append((_EXPOSE, b", ".join(name for name, _ in ours)))
    return merged
