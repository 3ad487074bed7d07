"""A deployment whose ledger is in a real Valkey server. Nightly: its config starts another engine."""

import httpx
import pytest

from llama_serving.contract.store import StoreSettings
from llama_serving.contract.tenants import DeskSettings, TenantLimits
from support.valkey_server import PASSWORD, server

pytestmark = [pytest.mark.serving, pytest.mark.nightly, pytest.mark.timeout(1800)]


def test_limits_hold_over_a_server_and_budgets_are_refused_without_it(
    cluster, deploy, config, keys, live, eventually, tmp_path
):
    (tmp_path / "password").write_text(PASSWORD)
    body = {"prompt": "llama", "max_tokens": 4, "ignore_eos": True}
    limits = (
        TenantLimits(name="three", requests_per_minute=3),
        TenantLimits(name="spender", tokens_per_day=1_000_000),
    )
    with server(tmp_path) as store:
        settings = StoreSettings(address=store.address, scope="team-a", folder=str(tmp_path))
        app = deploy(config().model_copy(update={"store": settings}))
        app.apply(live(desk=DeskSettings(tenants=limits)))

        def asking(tenant):
            client = httpx.Client(
                base_url=f"http://127.0.0.1:{cluster.http_port}",
                headers={"Authorization": f"Bearer {keys.add(tenant).text}"},
                timeout=60,
            )
            eventually(lambda: client.get("/v1/models").status_code == 200, seconds=60, what="the key to be known")
            return lambda: client.post("/v1/completions", json=body | {"model": app.model})

        three, spender = asking("three"), asking("spender")
        eventually(lambda: three().status_code == 429, seconds=120, what="the limit to hold")
        eventually(lambda: spender().status_code == 200, seconds=60, what="the ledger to lend of a budget")
        found = {key.decode() for key in store.client.scan_iter()}
        assert {f"llama-ledger:{{team-a}}:tenant:{name}" for name in ("three", "spender")} <= found

        store.stop()
        refused = eventually(
            lambda: answer if (answer := spender()).status_code == 503 else None,
            seconds=60,
            what="the last lease to end",
        )
        assert refused.json()["error"]["code"] == "limits_unavailable"
        store.start()
        eventually(lambda: spender().status_code == 200, seconds=60, what="the ledger to lend again")
