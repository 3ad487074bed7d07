"""Probes, asked over HTTP as the kubelet does."""

import socket
from contextlib import asynccontextmanager

import httpx

from llama_operator.telemetry import probes
from llama_operator.telemetry.probes import Report


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@asynccontextmanager
async def asked(*, healthy=True, ready=True, metrics=b""):
    served = probes.serve(
        "127.0.0.1",
        free_port(),
        healthy=lambda: Report(healthy, {"oldestReconcileSeconds": "0.1"}),
        ready=lambda: Report(ready, {"cache": "being filled"}),
        metrics=lambda: metrics,
    )
    async with served as address, httpx.AsyncClient(base_url=address) as client:
        yield client


async def test_a_process_that_is_well_answers_200():
    async with asked() as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


async def test_a_process_that_is_not_ready_says_why():
    async with asked(ready=False) as client:
        found = await client.get("/readyz")
        assert found.status_code == 503
        assert found.json() == {"ok": False, "details": {"cache": "being filled"}}
        assert (await client.get("/healthz")).status_code == 200


async def test_metrics_are_prometheus_text_or_absent():
    async with asked(metrics=b"llama_operator_leader 1.0\n") as client:
        found = await client.get("/metrics")
        assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert found.text == "llama_operator_leader 1.0\n"
    async with asked() as client:
        found = await client.get("/metrics")
        assert found.status_code == 404
        assert "--metrics Enabled" in found.text
