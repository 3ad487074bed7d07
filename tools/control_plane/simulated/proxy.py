"""A process between KubeRay and the API server that answers as Ray's dashboards would; started by `kuberay`.

KubeRay reaches a dashboard through the API server's proxy. The two paths that it uses are answered here, since the Ray
heads of simulated nodes do not exist; everything else goes to the API server with the identity of this process.
`/simulated/` is for the tests: `kuberay.Dashboards` says what to send. Listens on loopback only.
"""

import argparse
import asyncio
import json
import re
import ssl
import tempfile
import time
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from control_plane.simulated.serve import Behavior, SimulatedServe

_APPLICATIONS: Final = re.compile(r"/api/v1/namespaces/([^/]+)/services/([^/:]+)-head-svc:dashboard/proxy/api/serve/")
_HOP_BY_HOP: Final = frozenset(
    ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length")
)
SERVE: Final = web.AppKey("serve", SimulatedServe)
SESSION: Final = web.AppKey("session", aiohttp.ClientSession)
SERVER: Final = web.AppKey("server", str)


async def dashboard(request: web.Request) -> web.StreamResponse:
    """GET and PUT of Serve's applications, as KubeRay sends them."""
    match = _APPLICATIONS.match(request.path)
    if match is None:
        return await forward(request)
    namespace, cluster = match.groups()
    if request.method == "PUT":
        request.app[SERVE].put(namespace, cluster, await request.json())
        return web.Response()
    return web.json_response({"applications": request.app[SERVE].applications(namespace, cluster)})


async def health(_: web.Request) -> web.Response:
    """Every Serve proxy of a head is well."""
    return web.Response(text="success")


async def forward(request: web.Request) -> web.StreamResponse:
    """Ask the API server and stream what it answers."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
    body = await request.read() if request.can_read_body else None
    url = request.app[SERVER] + request.path_qs
    try:
        async with request.app[SESSION].request(request.method, url, headers=headers, data=body) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except aiohttp.ClientConnectionError as error:
        return web.Response(status=502, text=f"the API server does not answer: {error}")


async def set_behavior(request: web.Request) -> web.Response:
    """Say how the clusters of a name shall behave."""
    request.app[SERVE].set(
        request.match_info["namespace"], request.match_info["prefix"], Behavior(**await request.json())
    )
    return web.Response()


async def puts(request: web.Request) -> web.Response:
    """What was submitted to the clusters of a name."""
    found = request.app[SERVE].puts(request.match_info["namespace"], request.match_info["prefix"])
    return web.json_response(found)


async def looks(request: web.Request) -> web.Response:
    """How often KubeRay has asked the clusters of a name."""
    found = request.app[SERVE].looks(request.match_info["namespace"], request.match_info["prefix"])
    return web.json_response(found)


def application(server: str) -> web.Application:
    """The routes; the caller adds the session."""
    app = web.Application(client_max_size=64 * 2**20)
    app[SERVE], app[SERVER] = SimulatedServe(time.monotonic), server
    app.router.add_get("/simulated/ready", health)
    app.router.add_put("/simulated/{namespace}/{prefix}", set_behavior)
    app.router.add_get("/simulated/{namespace}/{prefix}", puts)
    app.router.add_get("/simulated/{namespace}/{prefix}/looks", looks)
    app.router.add_get(r"/{path:api/v1/namespaces/[^/]+/pods/[^/]+/proxy/-/healthz}", health)
    app.router.add_route("*", r"/{path:api/v1/namespaces/[^/]+/services/.*}", dashboard)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


def identity(kubeconfig: Mapping[str, Any]) -> tuple[str, ssl.SSLContext]:
    """Server of a kubeconfig and what it takes to be its user there."""
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder) / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(b64decode(user["client-key-data"]) + b64decode(user["client-certificate-data"]))
        context.load_cert_chain(pair)
    return cluster["server"], context


async def run(kubeconfig: Mapping[str, Any], port: int) -> None:
    """Serve until this process is ended."""
    server, context = identity(kubeconfig)
    app = application(server)
    timeout = aiohttp.ClientTimeout(total=None)  # a watch lasts as long as it lasts
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        app[SESSION] = session
        # When KubeRay ends a watch, the one that was made for it has to end too.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


def main() -> None:
    """Parse the arguments that `kuberay` gives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(run(json.loads(options.kubeconfig.read_text(encoding="utf-8")), options.port))


if __name__ == "__main__":
    main()
