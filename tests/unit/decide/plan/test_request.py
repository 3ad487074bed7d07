"""From a spec to a plan: what Auto may choose, what is refused with its reason, and the context that nobody named."""

import pytest

from llama_operator.api.reasons import Reason
from llama_operator.catalog import Catalog
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.errors import InvalidManifestError
from support.planning import KNOWN, deployment, planned


def test_auto_takes_no_precision_below_fp8_unasked():
    # One card of 48 GB holds 70B in INT4 alone.
    tight = {"accelerator": "A6000-48GB", "hardware": {"maxGPUs": 1}, "context": {"maxModelLength": 4096}}
    assert planned(**tight).chosen is None
    allowed = planned(**tight, model={"precisions": ["BF16", "INT4"]}).chosen
    assert allowed is not None
    assert allowed.precision == "INT4"


def test_auto_never_leaves_the_listed_precisions():
    only = planned(model={"precisions": ["BF16"]}, context={"maxModelLength": 8192}).chosen
    assert (only.precision, only.gpus_per_replica) == ("BF16", 2)


def test_a_named_precision_and_a_list_contradict_each_other():
    with pytest.raises(InvalidManifestError, match="precisions"):
        deployment(model={"precision": "FP8", "precisions": ["BF16"]})


def test_a_list_without_any_variant_names_what_there_is():
    problem = planned(name="llama-3.2-1b", model={"precisions": ["INT8"]}).problem
    assert problem.reason is Reason.VARIANT_UNKNOWN
    assert problem.field == "spec.model.precisions"
    assert "BF16" in problem.message


@pytest.mark.parametrize(("name", "precision"), [("llama-3-70b", "FP16"), ("llama-2-70b", "BF16")])
def test_16_bit_weights_are_cast_when_the_other_format_is_named(name, precision):
    found = planned(name=name, model={"precision": precision}, context={"maxModelLength": 4096})
    assert found.chosen.precision == precision
    assert found.plan.chosen.variant.weight_bytes == KNOWN.model(name).variants[0].weight_bytes


def test_a_named_repository_is_the_only_one():
    chosen = planned(model={"variant": "nvidia/Llama-3.3-70B-Instruct-FP8"}, context={"maxModelLength": 4096}).chosen
    assert chosen.repository == "nvidia/Llama-3.3-70B-Instruct-FP8"


def test_a_model_that_the_engine_cannot_load_is_refused_with_the_version_that_can():
    problem = planned(name="llama-3.2-90b-vision").problem
    assert problem.reason is Reason.ENGINE_CONSTRAINT
    assert "0.10.2 or older" in problem.message


def test_a_variant_that_the_engine_cannot_load_is_refused_with_its_reason():
    model = KNOWN.model("llama-3.1-8b")
    limit = KNOWN.model("llama-3.2-11b-vision").engine_limits[0]
    blocked = model.model_copy(
        update={"variants": tuple(v.model_copy(update={"engine_limits": (limit,)}) for v in model.variants)}
    )
    known = Catalog(
        models=[blocked if m.id == model.id else m for m in KNOWN.models],
        accelerators=KNOWN.accelerators,
        license_families=KNOWN.families,
    )
    problem = planned(known, name="llama-3.1-8b", model={"precision": "FP8"}).problem
    assert problem.reason is Reason.ENGINE_CONSTRAINT
    assert "0.10.2 or older" in problem.message
    assert problem.field == "spec.model.precision"


class TestContext:
    """Without context.maxModelLength."""

    def test_it_is_what_the_model_was_trained_for_where_few_nodes_hold_that(self):
        assert planned().chosen.max_model_length == 131_072

    def test_it_takes_no_node_for_a_length_that_nobody_named(self):
        chosen = planned(name="llama-4-scout").chosen
        assert chosen.nodes_per_replica == 1
        assert 32_768 <= chosen.max_model_length < 10_485_760
        assert chosen.kv_cache_tokens >= chosen.max_model_length

    def test_it_shrinks_to_what_named_sizes_hold(self):
        parallelism = {"mode": "Manual", "tensor": 2}
        chosen = planned(model={"precision": "BF16"}, parallelism=parallelism).chosen
        assert 2048 <= chosen.max_model_length < 32_768

    def test_a_named_one_never_shrinks(self):
        found = planned(
            model={"precision": "BF16"},
            parallelism={"mode": "Manual", "tensor": 2},
            context={"maxModelLength": 131_072},
        )
        assert found.chosen is None
        assert found.problem.reason is Reason.KV_CACHE_TOO_SMALL

    def test_nothing_is_served_with_a_useless_rest(self):
        found = planned(
            model={"precision": "FP8"},
            parallelism={"mode": "Manual", "tensor": 1},
            engine={"gpuMemoryUtilizationPercent": 91},
        )
        # 500 tokens or so are left.
        assert found.chosen is None
        assert found.problem.reason is Reason.KV_CACHE_TOO_SMALL


class TestObjectives:
    """spec.objectives."""

    def test_a_faster_answer_takes_more_gpus(self):
        slow = planned(context={"maxModelLength": 8192}, model={"precision": "FP8"}).chosen
        fast = planned(
            context={"maxModelLength": 8192},
            model={"precision": "FP8"},
            objectives={"timePerOutputTokenMilliseconds": 12},
        ).chosen
        assert fast.gpus_per_replica > slow.gpus_per_replica
        assert fast.time_per_output_token_us <= 12_000
        assert fast.max_num_seqs <= slow.max_num_seqs

    def test_a_rate_beyond_the_replicas_says_how_many_are_needed(self):
        found = planned(objectives={"requestsPerMinute": 100_000}, parallelism={"mode": "Manual", "tensor": 8})
        (rejection, *_) = found.plan.rejected
        assert rejection.reason is Reason.OBJECTIVES_NOT_MET
        replicas = int(rejection.nearest.rsplit(" ", 1)[1].replace(",", ""))
        enough = planned(
            objectives={"requestsPerMinute": 100_000},
            parallelism={"mode": "Manual", "tensor": 8},
            scaling={"maxReplicas": replicas},
        ).chosen
        assert enough.replicas_for_objectives <= replicas

    def test_what_no_sharding_reaches_is_refused_with_what_is_reached(self):
        found = planned(objectives={"timePerOutputTokenMilliseconds": 1})
        assert found.problem.reason is Reason.NOTHING_FITS
        assert "timePerOutputTokenMilliseconds" in found.problem.message

    def test_a_card_without_a_speed_model_is_refused(self):
        found = planned(
            name="llama-3.2-1b",
            accelerator="CPU",
            context={"maxModelLength": 512},
            objectives={"requestsPerMinute": 1},
        )
        assert {rejection.reason for rejection in found.plan.rejected} >= {Reason.OBJECTIVES_NOT_MET}

    def test_they_are_part_of_the_revision_and_their_absence_is_not(self):
        plain = revision_of(deployment())
        assert plain.name == "chat-" + plain.name.rpartition("-")[2]
        assert "objectives" not in plain.inputs
        assert revision_of(deployment(objectives={"requestsPerMinute": 60})).name != plain.name
        assert revision_of(deployment(model={"precisions": []})).name == plain.name
