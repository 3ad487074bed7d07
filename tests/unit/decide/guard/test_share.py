"""A guard on the model's cards: one plan for both, engines that are told their sizes, and one pod for both."""

import json

import pytest
import yaml

from llama_operator.api.manifest import parse
from llama_operator.api.reasons import Reason
from llama_operator.decide.bounds import live_settings
from llama_operator.decide.decision import decide
from llama_operator.decide.diagnosis.leaving_nodes import leaving
from llama_operator.decide.observed import Settings
from llama_operator.decide.plan.memory import tokens_needed
from llama_operator.decide.pods import AwayNode, PodFacts
from llama_operator.desired import objects
from llama_operator.observe import children
from llama_serving.config import RequestPath, ServingConfig
from llama_serving.llm_config import PER_WORKER_VARIABLE, llm_config_of, placement_bundles, replica_environment

GUARD = {"model": {"name": "llama-guard-3-8b"}, "placement": "Shared"}
CONTEXT = {"maxModelLength": 8192}
ON_H100 = {"hardware": {"accelerator": "H100-80GB"}}
LARGE = {"model": {"name": "llama-3.3-70b-instruct", "precision": "BF16"}} | ON_H100
TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {}}


@pytest.fixture
def shared(observed):
    """A deployment whose guard is on its cards, with other fields as they are given."""

    def build(**spec):
        return observed(**({"guard": GUARD, "context": CONTEXT} | spec))

    return build


def service_of(observed, known):
    built = objects.build(observed, decide(observed, known), Settings())
    return next(obj for obj in built.apply if obj["kind"] == "RayService")["spec"]


def config_of(observed, known):
    (application,) = (
        one
        for one in yaml.safe_load(service_of(observed, known)["serveConfigV2"])["applications"]
        if one["name"] == "llama"
    )
    return ServingConfig.model_validate(application["args"]), application["deployments"]


def test_both_fit_the_card_together_and_the_guard_counts_none(shared, known):
    decision = decide(shared(), known)
    assert decision.problem is None
    model, guard = decision.plan_status.chosen, decision.plan_status.guard
    assert (guard.placement, guard.accelerator, guard.tensor_parallel_size) == ("Shared", model.accelerator, 1)
    parts = (model.weight_bytes_per_gpu, model.reserve_bytes_per_gpu, model.kv_cache_bytes_per_gpu)
    assert sum(parts) + model.guard_bytes_per_gpu == model.memory_bytes_per_gpu
    assert guard.memory_bytes_per_gpu == model.guard_bytes_per_gpu
    assert guard.weight_bytes_per_gpu + guard.reserve_bytes_per_gpu + guard.kv_cache_bytes_per_gpu == (
        guard.memory_bytes_per_gpu
    )
    assert guard.max_model_length == 8192 + 2048
    assert guard.kv_cache_tokens >= guard.max_model_length
    assert (decision.guard.gpus, guard.usd_per_hour_cents) == (0, None)


def test_no_engine_is_told_more_than_its_part_and_both_parts_are_no_more_than_the_share_that_is_set(shared, known):
    observed = shared(engine={"gpuMemoryUtilizationPercent": 90})
    config, _ = config_of(observed, known)
    card = decide(observed, known).plan.chosen.accelerator.usable_memory_bytes
    parts = [config.engine.gpu_memory_utilization, config.guard.engine.gpu_memory_utilization]
    assert sum(parts) <= 0.90
    for engine, part, plan in zip(
        (config.engine, config.guard.engine), parts, vars_of(decide(observed, known)), strict=True
    ):
        assert engine.kv_cache_memory_bytes == plan.kv_cache_bytes_per_gpu
        needed = plan.weight_bytes_per_gpu + plan.reserve_bytes_per_gpu + plan.kv_cache_bytes_per_gpu
        assert part * card <= needed, "vLLM refuses to start if its part is not free"
        assert part * card > needed - card / 5000
    kwargs = llm_config_of(config)["engine_kwargs"]
    assert kwargs["kv_cache_memory_bytes"] == config.engine.kv_cache_memory_bytes


def vars_of(decision):
    return decision.plan_status.chosen, decision.plan_status.guard


@pytest.mark.parametrize("ranks", [1, 4])
def test_one_replica_of_each_is_on_a_node_and_ranks_are_on_different_cards(shared, known, ranks):
    observed = shared(**(LARGE if ranks > 1 else {}))
    config, _ = config_of(observed, known)
    assert config.ranks == (decide(observed, known).plan.chosen.sharding.ranks)
    (of_guard,) = placement_bundles(config.guard)
    of_model = placement_bundles(config)
    assert (of_guard["GPU"], of_guard["llama_guard"]) == (0.25, 1)
    assert {bundle["GPU"] for bundle in of_model} == {0.75}, "more than half of a card: no two ranks on one"
    total = sum(bundle["llama_model"] for bundle in of_model)
    assert 0.5 < total <= 1, "no two replicas on a node, and one fits"
    assert replica_environment(config) == {PER_WORKER_VARIABLE: "0.75"}
    assert replica_environment(config.guard) == {PER_WORKER_VARIABLE: "0.25"}
    assert config.placement.strategy == "STRICT_PACK"


def test_the_guard_has_no_pods_of_its_own_and_those_of_the_model_have_room_for_it(shared, observed, known):
    spec = service_of(shared(scaling={"minReplicas": 1, "maxReplicas": 3}), known)
    (group,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (1, 3)
    resources = json.loads(json.loads(group["rayStartParams"]["resources"]))
    assert (resources["llama_model"], resources["llama_guard"]) == (1, 1)
    alone = decide(observed(context=CONTEXT), known).shapes.worker.amounts
    both = decide(shared(), known).shapes.worker.amounts
    assert both.devices == alone.devices
    assert both.cpu_millicores > alone.cpu_millicores
    assert both.memory_bytes > alone.memory_bytes
    assert both.ephemeral_storage_bytes > alone.ephemeral_storage_bytes


def test_on_a_cpu_the_pods_have_a_core_for_each(shared, known):
    observed = shared(
        **TINY, guard={"model": {"name": "tiny-random-llama"}, "placement": "Shared"}, context={"maxModelLength": 512}
    )
    (group,) = service_of(observed, known)["rayClusterConfig"]["workerGroupSpecs"]
    assert group["rayStartParams"]["num-cpus"] == "2"
    config, _ = config_of(observed, known)
    assert config.engine.kv_cache_memory_bytes is None
    assert config.guard.engine.cpu_kv_cache_mib
    assert replica_environment(config) == {}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param(
            {"hardware": {"accelerator": "L4-24GB", "gpusPerNode": 1}, "parallelism": {"mode": "Manual", "tensor": 1}},
            ("the guard", "both engines may use", "guard.placement Own"),
            id="weights of both exceed the card",
        ),
        pytest.param(
            {"parallelism": {"mode": "Manual", "tensor": 1}, "context": {"maxModelLength": 131072}, "hardware": {"accelerator": "L40S-48GB"}},
            ("beside the guard", "guard.placement Own"),
            id="what is left holds no context",
        ),
        pytest.param(
            {"model": {"name": "llama-3.1-405b", "precision": "BF16"}} | ON_H100 | {"parallelism": {"mode": "Manual", "tensor": 8, "pipeline": 2}},
            ("shares no card with a replica on 2 nodes", "guard.placement Own"),
            id="a replica on two nodes",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_it_needs_and_what_helps(shared, known, spec, words):
    decision = decide(shared(**spec), known)
    assert decision.problem is not None
    assert decision.rollout is None
    for each in words:
        assert each in decision.problem.message


def test_a_card_without_kernels_for_the_guard_is_not_shared(shared, known):
    guard = GUARD | {"model": {"name": "llama-guard-3-8b", "variant": "acme/none"}}
    assert decide(shared(guard=guard), known).problem.field == "spec.guard.model.variant"


def test_lower_precision_of_the_guard_is_taken_where_it_saves_a_card(shared, known):
    small = shared(hardware={"accelerator": "L4-24GB"})
    decision = decide(small, known)
    assert decision.problem is None
    assert decision.guard.best.variant.precision == "FP8"
    large = decide(shared(hardware={"accelerator": "H100-80GB"}), known)
    assert large.guard.best.variant.precision == "BF16"


def test_stages_beside_a_guard_have_one_size_of_cache_that_all_of_them_can_give(shared, known):
    """vLLM takes one size for all ranks, and the tokens that it holds are those of the fewest."""
    decision = decide(shared(hardware={"accelerator": "L4-24GB"}), known)
    memory = decision.plan.chosen.memory
    assert decision.plan.chosen.sharding.pipeline > 1
    assert {rank.left_for_kv for rank in memory.others} == {memory.left_for_kv}
    assert memory.kv_tokens >= tokens_needed(8192, 1)


def test_max_gpus_counts_only_the_model(shared, known):
    assert decide(shared(hardware={"accelerator": "L40S-48GB", "maxGPUs": 1}), known).problem is None


def test_a_pinned_guard_on_a_share_counts_no_card_either(shared, known):
    """The limit is live: what was planned with one card goes on under a limit of one."""
    before = shared()
    built = objects.build(before, decide(before, known), Settings())
    record = next(obj for obj in built.apply if obj["kind"] == "ControllerRevision")
    spec = {"hardware": {"accelerator": "L40S-48GB", "maxGPUs": 1}}
    pinned = shared(**spec, facts={"revisions": (children.revision_facts(record),)})
    decision = decide(pinned, known)
    assert decision.guard is None, "nothing is planned again"
    assert decision.plan_status.guard.placement == "Shared"
    assert decision.problem is None


def added(name, claim):
    spec = {
        "source": {"volumeClaim": {"name": claim, "path": name}},
        "digest": "0" * 64,
        "lineage": {"derivedFrom": [{"model": "llama-3.1-8b", "kind": "Finetune"}]},
        "servedName": f"Llama-{name}",
    }
    return parse(
        {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaModel", "metadata": {"name": name}, "spec": spec}
    )


@pytest.mark.parametrize(("claim", "fits"), [("models", True), ("guards", False)])
def test_two_claims_are_refused_because_a_pod_has_one_folder_for_weights(shared, known, claim, fits):
    models = (added("chat", "models"), added("guard", claim))
    both = shared(
        model={"name": "chat"}, guard={"model": {"name": "guard"}, "placement": "Shared"}, facts={"models": models}
    )
    decision = decide(both, known)
    if fits:
        assert decision.problem is None
        (group,) = service_of(both, known)["rayClusterConfig"]["workerGroupSpecs"]
        claims = [
            one["persistentVolumeClaim"]["claimName"]
            for one in group["template"]["spec"]["volumes"]
            if "persistentVolumeClaim" in one
        ]
        assert claims == ["models"]
        return
    assert (decision.problem.reason, decision.problem.field) == (Reason.ENGINE_CONSTRAINT, "spec.guard.placement")
    assert "guards" in decision.problem.message
    assert "placement to Own" in decision.problem.message


def test_the_replicas_of_the_guard_stay_live(shared, known):
    twice = shared(guard=GUARD | {"replicas": 2}, scaling={"minReplicas": 2, "maxReplicas": 3})
    assert live_settings(twice.deployment.spec, 8, RequestPath.DIRECT, guarded=True).guard_replicas == 2
    assert decide(twice, known).revision == decide(shared(), known).revision
    assert decide(shared(), known).revision != decide(shared(guard={"model": GUARD["model"]}), known).revision
    _, deployments = config_of(twice, known)
    assert deployments[1]["num_replicas"] == 2


def test_a_guard_on_its_own_cards_is_named_as_before(observed, known):
    """Who names the default asks for the revision that runs."""
    guard = {"model": {"name": "llama-guard-3-8b"}, "accelerator": "L4-24GB"}
    written = decide(observed(guard=guard | {"placement": "Own"}), known)
    assert written.revision == decide(observed(guard=guard), known).revision
    assert written.problem is None
    assert written.plan_status.guard.placement is None


def test_reasons_of_a_guard_without_a_card_are_told_as_of_the_plan(shared, known):
    problem = decide(shared(hardware={"accelerator": "T4-16GB", "gpusPerNode": 1}), known).problem
    assert problem.reason in {Reason.NOTHING_FITS, Reason.WEIGHTS_DO_NOT_FIT, Reason.KV_CACHE_TOO_SMALL}


def test_a_node_that_is_emptied_takes_a_guard_with_it_that_has_no_pods(shared, known):
    """Its own pods would tell of it."""
    before = shared()
    built = objects.build(before, decide(before, known), Settings())
    record = children.revision_facts(next(obj for obj in built.apply if obj["kind"] == "ControllerRevision"))
    pods = (PodFacts(name="w", revision=record.name, role="worker", phase="Running", node="a", ready=True),)
    away = (AwayNode("a", "L40S-48GB", 1, "is cordoned"),)
    told = leaving(shared(facts={"revisions": (record,), "pods": pods, "away": away}), record.name)
    assert "the guard, if its replica is there" in told
