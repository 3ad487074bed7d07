"""`kubectl llama cost`: the user's own prices and load, the comparison with an API, and errors that name the field."""

import json

import pytest
import yaml

from llama_operator.cli.main import main

BASE = {
    "apiVersion": "llama-operator.io/v1alpha1",
    "kind": "LlamaDeployment",
    "metadata": {"name": "chat", "namespace": "team-a"},
    "spec": {
        "model": {"name": "llama-3.3-70b-instruct", "precision": "FP8"},
        "context": {"maxModelLength": 8192},
        "hardware": {"accelerator": "H100-80GB"},
        "scaling": {"minReplicas": 1, "maxReplicas": 4},
        "license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"},
    },
}


@pytest.fixture
def cost(tmp_path, capsys):
    def run(*options, output="json", prices=None, **spec):
        path = tmp_path / "m.yaml"
        path.write_text(yaml.safe_dump(BASE | {"spec": BASE["spec"] | spec}), encoding="utf-8")
        if prices is not None:
            (tmp_path / "prices.yaml").write_text(prices, encoding="utf-8")
            options = (*options, "--prices", str(tmp_path / "prices.yaml"))
        code = main(["cost", "-f", str(path), "-o", output, *options])
        return code, *capsys.readouterr()

    return run


def test_list_prices_and_full_load_without_options(cost):
    code, out, _ = cost()
    found = json.loads(out)
    assert code == 0
    assert [s["name"] for s in found["scenarios"]] == ["minimum", "maximum"]
    gpus = found["plan"]["gpusPerReplica"]
    each = found["prices"]["usdMicrosPerGPUHour"]
    assert [s["usdMicrosPerHour"] for s in found["scenarios"]] == [each * gpus, each * gpus * 4]
    assert all(s["breakEven"] is None for s in found["scenarios"])


def test_a_guard_is_paid_for_at_every_number_of_replicas(cost):
    scaling = {"scaling": {"minReplicas": 0, "maxReplicas": 4}}
    prices = "basis: ours\nusdPerGPUHour: {H100-80GB: 2, L4-24GB: 0.5}"
    _, plain, _ = cost(prices=prices, **scaling)
    guard = {"model": {"name": "llama-guard-3-8b"}, "accelerator": "L4-24GB", "replicas": 3}
    _, guarded, _ = cost(prices=prices, guard=guard, **scaling)
    before, after = json.loads(plain), json.loads(guarded)
    assert "guard" not in before
    gpus = after["guard"]["gpus"]
    assert (after["guard"]["model"], gpus % 3, gpus > 0) == ("llama-guard-3-8b", 0, True)
    assert after["guard"]["usdMicrosPerHour"] == gpus * 500_000
    for one, other in zip(before["scenarios"], after["scenarios"], strict=True):
        assert other["gpus"] == one["gpus"] + gpus
        assert other["usdMicrosPerHour"] == one["usdMicrosPerHour"] + gpus * 500_000
        assert other["tokensPerDay"] == one["tokensPerDay"]
    assert after["scenarios"][0]["usdMicrosPerHour"] > 0, "at zero replicas too"
    _, table, _ = cost(output="table", prices=prices, guard=guard, **scaling)
    assert "llama-guard-3-8b" in table
    _, _, told = cost(prices="basis: ours\nusdPerGPUHour: {H100-80GB: 2}", guard=guard)
    assert "usdPerGPUHour.L4-24GB" in told


def test_a_schedule_costs_what_its_minimum_costs_over_a_week(cost):
    office = {"name": "office", "days": ["Monday", "Tuesday"], "from": "08:00", "to": "18:00", "minReplicas": 3}
    scaling = {"minReplicas": 1, "maxReplicas": 4, "schedule": {"timeZone": "Europe/Berlin", "windows": [office]}}
    prices = "basis: ours\nusdPerGPUHour: {H100-80GB: 2}"
    _, out, _ = cost(prices=prices, scaling=scaling)
    found = json.loads(out)
    each = 2_000_000 * found["plan"]["gpusPerReplica"]
    assert [one["name"] for one in found["scenarios"]] == ["minimum", "window office", "maximum"]
    assert [(one["window"], one["hours"], one["minReplicas"]) for one in found["week"]["windows"]] == [
        ("office", 20.0, 3),
        (None, 148.0, 1),
    ]
    assert found["week"]["usdMicros"] == each * (20 * 3 + 148)
    _, table, _ = cost(prices=prices, scaling=scaling, output="table")
    assert "20 h with 3 to 4 (office), 148 h with 1 to 4 replicas" in " ".join(table.split())
    _, plain, _ = cost(prices=prices)
    assert "week" not in json.loads(plain)


def test_own_prices_replace_the_list(cost):
    _, out, _ = cost(prices="basis: our contract\nusdPerGPUHour: {H100-80GB: 2.1}")
    assert json.loads(out)["prices"] == {"basis": "our contract", "usdMicrosPerGPUHour": 2_100_000}


def test_objectives_give_load_and_planned_replicas(cost):
    _, out, _ = cost(objectives={"requestsPerMinute": 2000, "promptTokens": 500, "outputTokens": 100})
    found = json.loads(out)
    planned = next(s for s in found["scenarios"] if s["name"] == "planned")
    assert found["workload"] == {"promptTokens": 500, "outputTokens": 100, "requestsPerMinute": 2000}
    assert planned["requestsPerMinute"] == 2000
    assert planned["replicas"] * found["replica"]["requestsPerMinute"] >= 2000


def test_the_load_of_the_command_line_wins(cost):
    _, out, _ = cost("--requests-per-minute", "7", objectives={"requestsPerMinute": 2000})
    assert json.loads(out)["scenarios"][0]["requestsPerMinute"] == 7


def test_the_break_even_says_whether_it_can_be_reached(cost):
    _, cheap, _ = cost("--api-price", "0.0001")
    _, dear, _ = cost("--api-price", "100")
    assert {s["breakEven"]["reachable"] for s in json.loads(cheap)["scenarios"]} == {"No"}
    assert {s["breakEven"]["reachable"] for s in json.loads(dear)["scenarios"]} == {"Yes"}


def test_the_table_tells_people_the_same(cost):
    code, out, _ = cost("--api-price", "100", output="table")
    assert code == 0
    assert "$/M TOKENS" in out
    assert "cheaper from" in out


@pytest.mark.parametrize(
    ("options", "prices", "field"),
    [
        (("--api-price", "free"), None, "--api-price"),
        (("--api-price", "-1"), None, "--api-price"),
        (("--api-price", "NaN"), None, "--api-price"),
        (("--requests-per-minute", "0"), None, "--requests-per-minute"),
        ((), "usdPerGPUHour: {H100-80GB: cheap}", "usdPerGPUHour.H100-80GB"),
        ((), "usdPerGPUHour: {H100-80GB: true}", "usdPerGPUHour.H100-80GB"),
        ((), "usdPerGPUHour: {H1000: 1}", "usdPerGPUHour.H1000"),
        ((), "usdPerGPUHour: {L4-24GB: 1}", "usdPerGPUHour.H100-80GB"),
        ((), "usdPerHour: {H100-80GB: 1}", "usdPerHour"),
        ((), "basis: ours", "usdPerGPUHour"),
        ((), "", "(file)"),
    ],
)
def test_what_cannot_be_used_is_named(cost, options, prices, field):
    code, _, err = cost(*options, prices=prices)
    assert code == 2
    assert field in err


def test_what_does_not_fit_has_no_cost(cost):
    code, out, _ = cost(hardware={"accelerator": "L4-24GB", "maxGPUs": 1})
    assert code == 3
    assert json.loads(out)["scenarios"] == []


def test_a_card_without_a_price_says_how_to_give_one(cost):
    code, _, err = cost(hardware={"accelerator": "RTX4090-24GB"}, model={"name": "llama-3.1-8b", "precision": "FP8"})
    assert code == 2
    assert "--prices" in err
