"""/healthz, /readyz and /metrics over HTTP. Wired in by `process`, which says what is healthy and ready.

/healthz fails only for what a restart mends. /readyz says whether this replica could take over: a standby is ready too.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe answers.

    Attributes:
        ok: Whether all is well.
        details: Why, for people: what was looked at, and how it is.
    """

    ok: bool
    details: Mapping[str, str] = field(default_factory=dict)


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    *,
    healthy: Callable[[], Report],
    ready: Callable[[], Report],
    metrics: Callable[[], bytes],
) -> AsyncIterator[str]:
    """Answer for as long as the context lasts; yields the address.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        healthy: Asked for /healthz.
        ready: Asked for /readyz.
        metrics: Asked for /metrics; empty for 404.
    """

    async def answer_healthz(_: web.Request) -> web.Response:
        return _answer(healthy())

    async def answer_readyz(_: web.Request) -> web.Response:
        return _answer(ready())

    async def answer_metrics(_: web.Request) -> web.Response:
        return _numbers(metrics())

    app = web.Application()
    app.router.add_get("/healthz", answer_healthz)
    app.router.add_get("/readyz", answer_readyz)
    app.router.add_get("/metrics", answer_metrics)
    # No access log: probes come every few seconds and say nothing.
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _answer(report: Report) -> web.Response:
    status = HTTPStatus.OK if report.ok else HTTPStatus.SERVICE_UNAVAILABLE
    return web.json_response({"ok": report.ok, "details": dict(report.details)}, status=status)


def _numbers(content: bytes) -> web.Response:
    if not content:
        return web.Response(status=HTTPStatus.NOT_FOUND, text="metrics are off; start with --metrics Enabled\n")
    return web.Response(body=content, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
