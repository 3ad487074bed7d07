"""The HTTP routes about licenses: `/about`, `/licenses`, `/licenses/{model}`, `/licenses/{model}/{file}`.

`ingress` includes them beside the OpenAI routes. They never touch a file. The engine read the texts when it
started, and a name in a path is only compared with the names of those texts.
"""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from llama_serving.config import ABOUT_PATH, LICENSES_PATH, LicenseDuties
from llama_serving.licenses import pages
from llama_serving.licenses.files import LicenseFile

_KEEP_SECONDS = 30.0
_RETRY_AFTER_SECONDS = 30
_JSON = "application/json"
_SAFE = {"X-Content-Type-Options": "nosniff", "Vary": "Accept"}
_PAGE_SAFE = {**_SAFE, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}

Accept = Annotated[str, Header()]


class LicenseDesk:
    """What the routes know about the served model.

    Args:
        model_id: Name in `/v1/models`.
        duties: What its licenses ask to show.
        read: Reads the texts; None if no engine has read them yet.
        clock: In seconds. After a while the texts are read again, because an engine that restarts reads them again.
        guard: The same about the guard that screens the model; None without one.
    """

    def __init__(
        self,
        model_id: str,
        duties: LicenseDuties | None,
        read: Callable[[], Awaitable[tuple[LicenseFile, ...] | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
        guard: "LicenseDesk | None" = None,
    ) -> None:
        self.model_id = model_id
        self.guard = guard
        self.duties = duties
        self._read = read
        self._clock = clock
        self._asked = -math.inf
        self._texts: tuple[LicenseFile, ...] | None = None

    def of(self, path: str) -> "LicenseDesk":
        """Return what is known of the model whose texts are at `path`; of a guard with a longer name, the guard's."""
        here = [one for one in (self, self.guard) if one is not None and f"{path}/".startswith(f"{one.model_id}/")]
        return max(here, key=lambda one: len(one.model_id), default=self)

    async def files(self) -> tuple[LicenseFile, ...] | None:
        """Return the texts; the last known ones if they cannot be read now."""
        if self._texts is None or self._clock() - self._asked >= _KEEP_SECONDS:
            texts = await self._read()
            if texts is not None:
                self._texts, self._asked = texts, self._clock()
        return self._texts

    async def chosen(self, path: str) -> tuple[LicenseFile, ...]:
        """Return the texts at `path`: all of the model, or the one that is named after it.

        Raises:
            HTTPException: 404 with the reason when there is none, 503 while no engine has read them yet.
        """
        name = path.removeprefix(f"{self.model_id}/") if path != self.model_id else None
        if name == path:
            raise HTTPException(404, f"no model {path!r} is served here; {LICENSES_PATH} lists what is")
        files = await self.files()
        if files is None:
            raise HTTPException(
                503,
                f"no engine of {self.model_id} has read its license texts yet; they are there once one has started",
                headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
            )
        if not files:
            raise HTTPException(
                404,
                f"{self.model_id} came without license files (LICENSE*, USE_POLICY*, NOTICE*); "
                "put them beside the weights and restart the deployment",
            )
        chosen = files if name is None else tuple(file for file in files if file.name == name)
        if not chosen:
            names = ", ".join(file.name for file in files)
            raise HTTPException(404, f"{self.model_id} has no license file {name!r}; it has {names}")
        return chosen


def license_router(desk: Callable[[], LicenseDesk]) -> APIRouter:
    """Build the routes. `desk` is asked at each request: a Serve ingress is built before its config is known."""
    router = APIRouter()

    @router.get(ABOUT_PATH)
    async def about(accept: Accept = "*/*") -> Response:
        here = desk()
        guard = None if here.guard is None else (here.guard.model_id, here.guard.duties)
        if preferred(accept, "text/html", _JSON) == _JSON:
            return JSONResponse(pages.about_json(here.model_id, here.duties, guard), headers=_SAFE)
        return HTMLResponse(pages.about_html(here.model_id, here.duties, guard), headers=_PAGE_SAFE)

    @router.get(LICENSES_PATH)
    async def licenses() -> Response:
        here = desk()
        all_ = (here,) if here.guard is None else (here, here.guard)
        models = [pages.listing(one.model_id, one.duties, await one.files()) for one in all_]
        return JSONResponse({"models": models, "note": pages.NO_ADVICE}, headers=_SAFE)

    @router.get(LICENSES_PATH + "/{path:path}")
    async def texts(path: str, accept: Accept = "*/*") -> Response:
        here = desk().of(path)
        if path == here.model_id and preferred(accept, "text/plain", _JSON) == _JSON:
            return JSONResponse(pages.listing(path, here.duties, await here.files()), headers=_SAFE)
        texts = await here.chosen(path)
        text = pages.joined(texts) if path == here.model_id else texts[0].text
        return PlainTextResponse(text, headers=_SAFE)

    return router


def preferred(accept: str, *offered: str) -> str:
    """Return the media type of `offered` that `accept` likes best (RFC 9110, 12.5.1), the first when it does not care."""
    return max(offered, key=lambda media: _quality(accept, media))


def _quality(accept: str, media: str) -> float:
    """Quality of the most specific range that fits `media`; 0 when none does."""
    best = (-1, 0.0)
    for part in accept.split(","):
        text, *parameters = (piece.strip().lower() for piece in part.split(";"))
        ranges = (media, f"{media.partition('/')[0]}/*", "*/*")
        if text in ranges:
            best = max(best, (len(ranges) - ranges.index(text), _q(parameters)))
    return best[1]


def _q(parameters: list[str]) -> float:
    quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    try:
        return min(1.0, max(0.0, float(quality)))
    except ValueError:
        return 0.0
