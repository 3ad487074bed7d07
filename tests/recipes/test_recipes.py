"""Published recipes: what others run, and what they could not, planned from the manifest that a user would write."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from llama_operator.api.manifest import parse_as
from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.observed import Observed

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "recipes.md"
BEGIN, END = "<!-- rows -->\n", "<!-- end of rows -->\n"
ROWS = json.loads((HERE / "recipes.json").read_text(encoding="utf-8"))
BY_ID = {row["id"]: row for row in ROWS}
FITS = {"Works", "Estimate"}


@dataclass(frozen=True)
class Manifest:
    """A manifest as a user would write it after reading the recipe."""

    row: dict
    auto: bool = False
    """Leave the sharding to the planner, on as many GPUs as the recipe has."""
    length: int | None = None

    @property
    def content(self):
        row = self.row
        replicas = row.get("replicas", 1)
        model = {"name": row["model"], "precision": row["precision"]}
        if "repository" in row:
            model["variant"] = row["repository"]
        hardware = {"accelerator": row["accelerator"], "gpusPerNode": row["gpus"] // row["nodes"]}
        length = self.length or row["maxModelLength"]
        arguments = {name: row[name] for name in ("graphs", "maxNumSeqs", "maxNumBatchedTokens") if name in row}
        return {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaDeployment",
            "metadata": {"name": "recipe", "namespace": "default"},
            "spec": {
                "model": model,
                "context": {"maxModelLength": length} if length else {},
                "hardware": hardware | ({"maxGPUs": row["gpus"]} if self.auto or replicas > 1 else {}),
                "parallelism": {"mode": "Auto"}
                if self.auto
                else {"mode": "Manual", "tensor": row["tensor"], "pipeline": row["pipeline"]},
                "engine": {
                    "kvCacheDtype": row["kvCacheDtype"],
                    "gpuMemoryUtilizationPercent": row["utilizationPercent"],
                    "arguments": arguments,
                },
                "scaling": {"minReplicas": 1, "maxReplicas": replicas},
                # Named, and nobody looks it up here: licenses have tests of their own.
                "license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"},
            },
        }


def planned(known, row, **how) -> Decision:
    deployment = parse_as(LlamaDeployment, Manifest(row, **how).content)
    return decide(Observed(deployment, acceptances=None), known)


def name(row):
    return f"{row['id']}-{row['model']}-{row['precision']}-{row['accelerator']}x{row['gpus']}"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_the_published_sharding_is_planned_or_refused_as_published(known, row):
    decision = planned(known, row)
    if "refusedFor" in row:
        assert decision.chosen is None
        assert decision.problem.reason == row["refusedFor"]
        return
    assert row["published"] in FITS
    chosen = decision.chosen
    assert chosen is not None, decision.problem
    assert (chosen.precision, chosen.accelerator) == (row["precision"], row["accelerator"])
    assert (chosen.tensor_parallel_size, chosen.pipeline_parallel_size) == (row["tensor"], row["pipeline"])
    assert (chosen.gpus_per_replica, chosen.nodes_per_replica) == (row["gpus"], row["nodes"])
    assert chosen.max_model_length == (row["maxModelLength"] or chosen.max_model_length)
    assert chosen.kv_cache_tokens >= chosen.max_model_length


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_left_to_itself_the_planner_takes_no_more_gpus_than_published(known, row):
    decision = planned(known, row, auto=True)
    if "refusedFor" in row:
        assert decision.chosen is None
    else:
        assert decision.chosen.gpus_per_replica <= row["gpus"]


@pytest.mark.parametrize("row", [row for row in ROWS if row["published"] in {"Contradicted", "DoesNotFit"}], ids=name)
def test_a_recipe_that_does_not_work_says_what_would(known, row):
    rejections = planned(known, row).plan.rejected
    assert [rejection.reason for rejection in rejections] == [row["refusedFor"]]
    assert rejections[0].nearest
    assert rejections[0].nearest in planned(known, row).problem.message


def test_a_length_beyond_the_checkpoint_is_refused_and_the_checkpoints_own_is_planned(known):
    row = BY_ID[6]
    assert planned(known, row).problem.reason is Reason.CONTEXT_TOO_LONG
    chosen = planned(known, row, length=131_072).chosen
    assert (chosen.tensor_parallel_size, chosen.pipeline_parallel_size) == (row["tensor"], row["pipeline"])


def test_one_70b_engine_fits_where_two_do_not(known):
    assert planned(known, BY_ID[48] | {"replicas": 1}).chosen is not None


def test_defaults_fail_where_the_recipe_had_to_change_them(known):
    row = BY_ID[51] | {"utilizationPercent": 90, "maxModelLength": 131_072}
    problem = planned(known, row).problem
    assert problem.reason in {Reason.WEIGHTS_DO_NOT_FIT, Reason.KV_CACHE_TOO_SMALL}


def test_the_document_shows_every_recipe_as_it_is_planned_today(known, request):
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert END in text
    wanted = f"{before}{BEGIN}{table(known)}{END}{after}"
    if request.config.getoption("--update-golden"):
        DOCUMENT.write_text(wanted, encoding="utf-8")
        text = wanted
    assert text == wanted, "if this change is wanted: pytest tests/recipes --update-golden, and read the diff"


def table(known):
    lines = ["| # | recipe | published | planned | per GPU: weights + reserve + KV | KV tokens | source |"]
    lines.append("|---|---|---|---|---|---|---|")
    lines += [_line(known, row) for row in ROWS]
    notes = [f"- {row['id']}: {row['note']}" for row in ROWS if "note" in row]
    return "\n".join([*lines, "", *notes, ""])


def _line(known, row):
    length = f"{row['maxModelLength']:,} tokens" if row["maxModelLength"] else "no length named"
    keys = "FP8 KV, " if row["kvCacheDtype"] == "FP8" else ""
    named = {"maxNumBatchedTokens": "tokens a step", "maxNumSeqs": "sequences"}
    keys += "".join(f"{row[field]:,} {words}, " for field, words in named.items() if field in row)
    keys += "eager, " if row.get("graphs") == "Eager" else ""
    recipe = (
        f"{row['model']} {row['precision']}, {row['gpus']} × {row['accelerator']}, TP{row['tensor']} PP{row['pipeline']}, "
        f"{keys}{length}, {row['utilizationPercent']} %, {row['engine']}"
    )
    decision = planned(known, row)
    chosen = decision.chosen
    if chosen is None:
        why = decision.plan.rejected[0].nearest if decision.plan else decision.problem.message
        outcome, memory, tokens = f"refused, {decision.problem.reason}: {why}", "", ""
    else:
        outcome = f"fits, {chosen.max_model_length:,} tokens"
        parts = (chosen.weight_bytes_per_gpu, chosen.reserve_bytes_per_gpu, chosen.kv_cache_bytes_per_gpu)
        memory = " + ".join(f"{size / (1 << 30):.1f}" for size in parts) + " GiB"
        tokens = f"{chosen.kv_cache_tokens:,}"
    source = row["source"].replace("|", "/")
    return f"| {row['id']} | {recipe} | {row['published']} | {outcome} | {memory} | {tokens} | {source} |"
