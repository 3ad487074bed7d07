"""Situations of public users, with the values of their threads: models and names as people write them.

Ids are those of the list that the project keeps of such situations.
"""

import ast
import importlib.util
import json
from pathlib import Path

import pytest

from llama_operator.api.manifest import parse
from llama_operator.api.reasons import Reason
from llama_operator.cli.shared import files
from llama_operator.errors import InvalidManifestError
from support.planning import planned

REVISION = "0123456789abcdef0123456789abcdef01234567"


def added(name="chat-4bit", *, source=None, kind="Quantized", base="llama-3.1-8b", **spec):
    found = source or {"volumeClaim": {"name": "models", "path": "chat"}}
    content = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaModel",
        "metadata": {"name": name},
        "spec": {
            "source": found,
            "digest": "0123456789abcdef" * 4,
            "lineage": {"derivedFrom": [{"model": base, "kind": kind}]},
            "servedName": "Llama-3.1-8B-chat",
        }
        | spec,
    }
    return parse(json.loads(json.dumps(content)))


def on_l4(model, **how):
    asked = {"context": {"maxModelLength": 8192}, "accelerator": "L4-24GB"} | how
    return planned(name=model.metadata.name, models=(model,), **asked)


def weights(quantization, precision="INT4"):
    return {"precision": precision, "quantization": quantization}


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        # C11
        (weights("bitsandbytes"), "no longer has bitsandbytes"),
        (weights("gguf"), "GGUF files are not served"),
        (weights("hqq"), "no longer has HQQ"),
        (weights("exl2"), "only ExLlamaV2 reads EXL2"),
        (weights("fp8"), "precision is INT4, and fp8 has FP8"),
        # its kind
        (weights("squeezellm"), "vLLM 0.32 has no such method; it has auto_awq"),
        (weights("modelopt_fp4"), "4-bit floating point is not planned with"),
        (weights("auto-round"), "set spec.weights.quantization to inc"),
        (weights("torchao"), "needs the package torchao"),
        (weights("awq", "BF16"), "BF16 (the default, if it is left out), and awq has INT4"),
        (weights("gptq", "FP8"), "precision is FP8, and gptq has INT8 or INT4"),
    ],
    ids=lambda value: f"{value['quantization']} {value['precision']}" if isinstance(value, dict) else "",
)
def test_what_the_engine_cannot_load_is_refused_before_gpus_are_taken(declared, says):
    found = on_l4(added(weights=declared))
    assert found.chosen is None
    assert found.problem.reason is Reason.ENGINE_CONSTRAINT
    assert says in found.problem.text


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (
            {"huggingFace": {"repository": "unsloth/Llama-3.1-8B-Instruct-bnb-4bit", "revision": REVISION}},
            "bitsandbytes",
        ),
        ({"huggingFace": {"repository": "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "revision": REVISION}}, "GGUF"),
        ({"objectStore": {"uri": "s3://models/llama-3.1-8b-Q4_K_M.gguf"}}, "GGUF"),
        ({"volumeClaim": {"name": "models", "path": "Llama-3.1-8B-exl2-4.0bpw"}}, "EXL2"),
    ],
)
def test_files_that_their_place_names_are_refused_although_nothing_else_says_what_they_are(place, says):
    found = on_l4(added(source=place, weights={"precision": "INT4"}))
    assert found.problem.reason is Reason.ENGINE_CONSTRAINT
    assert says in found.problem.text


def test_4_bit_floating_point_is_planned_with_its_size_only():
    place = {"huggingFace": {"repository": "RedHatAI/Llama-3.1-8B-Instruct-NVFP4", "revision": REVISION}}
    declared = weights("compressed-tensors")
    found = on_l4(added(source=place, weights=declared))
    assert "set it, or serve a copy in FP8" in found.problem.text
    sized = on_l4(added(source=place, weights=declared | {"sizeBytes": 6_030_000_000}))
    assert sized.plan.chosen.variant.weight_bytes == 6_030_000_000


@pytest.mark.parametrize("method", ["awq", "gptq", "compressed-tensors", "inc", ""])
def test_the_only_precision_of_a_model_needs_no_naming(method):
    found = on_l4(added(weights=weights(method)))
    assert found.chosen.precision == "INT4"


def test_of_several_precisions_auto_takes_no_low_one():
    problem = planned(name="llama-3.2-1b", model={"precisions": ["INT8"]}).problem
    assert problem.reason is Reason.VARIANT_UNKNOWN


def test_16_bit_weights_that_the_engine_quantizes_are_read_in_16_bits_and_held_in_8():
    variant = on_l4(added(weights=weights("fp8_per_tensor", "BF16"))).plan.chosen.variant
    assert variant.precision == "FP8"
    assert variant.stored_bytes > 1.6 * variant.weight_bytes


def test_a_deprecated_method_loads_with_the_argument_that_allows_it():
    found = on_l4(added(weights=weights("fbgemm_fp8", "FP8")))
    assert [limit.argument for limit in found.plan.chosen.variant.engine_limits] == ["allow_deprecated_quantization"]


def test_an_adapter_alone_is_refused_and_a_model_that_was_merged_with_one_is_not():
    alone = on_l4(added(kind="Adapter"))
    assert alone.problem.reason is Reason.ENGINE_CONSTRAINT
    assert "merge it into its base" in alone.problem.text
    assert alone.license.families == ("llama-3.1",)
    assert on_l4(added(kind="Merge")).chosen is not None
    assert on_l4(added(kind="Adapter", weights={"sizeBytes": 16_060_000_000})).chosen is not None


@pytest.mark.parametrize(
    ("card", "method", "precision", "says"),
    [
        ("A100-80GB", "quark", "FP8", "compute capability 8.9 for quark weights in FP8, A100-80GB has 8.0"),
        ("MI300X-192GB", "gptq_marlin", "INT4", "vLLM for ROCm does not have gptq_marlin"),
        # vllm#4202, vllm#25022, llm-compressor#1258
        ("V100-32GB", "awq", "INT4", "INT4 V100-32GB TP1 PP1: vLLM has no INT4 kernels on V100-32GB"),
        ("V100-32GB", "inc", "FP8", "FP8 V100-32GB TP1 PP1: vLLM has no FP8 kernels on V100-32GB"),
        ("T4-16GB", "compressed-tensors", "INT4", ""),
        ("A100-80GB", "fp8", "FP8", ""),
        ("MI300X-192GB", "awq", "INT4", ""),
    ],
)
def test_a_card_without_kernels_for_the_method_is_refused(card, method, precision, says):
    found = on_l4(added(weights=weights(method, precision)), accelerator=card)
    if not says:
        assert found.chosen is not None
        return
    assert {rejection.reason for rejection in found.plan.rejected} == {Reason.PRECISION_NOT_SUPPORTED}
    assert says in found.problem.text


AZURE = "azure://models@acme.blob.core.windows.net/Llama-3.3-70B-Instruct"
ABFSS = "abfss://models@account.dfs.core.windows.net/Llama-3.3-70B-Instruct"
STORES = {
    "C36 S3": ("s3://models/chat", {}, "s3://models/chat"),
    "C36 MinIO": ("s3://models/chat", {"endpoint": "http://minio:9000", "region": "us-east-1"}, "s3://models/chat"),
    "C36 open bucket": ("s3://anonymous@models/chat", {}, "s3://anonymous@models/chat"),
    "open bucket of Google": ("gs://anonymous@models/chat", {}, "gs://anonymous@models/chat"),
    "C55 abfss": (ABFSS, {}, ABFSS),
    "C55 azure": (AZURE, {}, AZURE),
    "C55 az with account": ("az://models/Llama-3.3-70B-Instruct", {"account": "acme"}, AZURE),
}
RAY = Path(importlib.util.find_spec("ray").origin).parent


def in_store(uri, **more):
    return added(source={"objectStore": {"uri": uri} | more})


def read_by_ray():
    """Beginnings of the addresses that Ray downloads from: its source is read, its import takes seconds."""
    module = ast.parse((RAY / "llm/_internal/common/utils/cloud_utils.py").read_text(encoding="utf-8"))
    (function,) = (each for each in module.body if getattr(each, "name", "") == "is_remote_path")
    return tuple(node.args[0].value for node in ast.walk(function) if isinstance(node, ast.Call))


@pytest.mark.parametrize(("uri", "more", "read"), STORES.values(), ids=STORES)
def test_a_store_is_read_by_an_address_that_the_pods_know(uri, more, read):
    variant = on_l4(in_store(uri, **more)).plan.chosen.variant
    assert variant.uri == read
    assert read.startswith(read_by_ray())


def test_c55_a_container_without_its_account_is_refused_with_what_to_write():
    problem = on_l4(in_store("az://models/Llama-3.3-70B-Instruct")).problem
    assert problem.reason is Reason.ENGINE_CONSTRAINT
    assert "names no storage account" in problem.text


@pytest.mark.parametrize(
    "uri", ["https://models/a", "hdfs://models/a", "azure://models/a", "s3://me@models/a", "s3a://models/a"]
)
def test_an_address_that_no_pod_reads_is_no_manifest(uri):
    with pytest.raises(InvalidManifestError, match="must be one folder that pods can read"):
        in_store(uri)


@pytest.mark.parametrize("uri", [AZURE, ABFSS, "s3://anonymous@models/chat"])
def test_the_streaming_loader_is_refused_where_it_cannot_read(uri):
    problem = on_l4(in_store(uri), engine={"arguments": {"loadFormat": "RunaiStreamer"}}).problem
    assert problem.field == "spec.engine.arguments.loadFormat"
    assert "leave loadFormat out" in problem.text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "did you mean name: llama-3.1-8b?"),
        ("Llama-3.1-8B", "did you mean name: llama-3.1-8b?"),
        (
            "llama-3.1-8b-instruct",
            "did you mean name: llama-3.1-8b, with the weights of meta-llama/Llama-3.1-8B-Instruct?",
        ),
        ("meta-llama/Llama-3.1-8B", "name: llama-3.1-8b with variant: meta-llama/Llama-3.1-8B?"),
        ("meta-llama/Llama-3.3-70B-Instruct", "did you mean name: llama-3.3-70b-instruct?"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct", "is added as a LlamaModel"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8", "name: llama-3.1-8b with precision: FP8?"),
        ("nvidia/Llama-3.3-70B-Instruct-NVFP4", "is not served: NVFP4"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct", "with the weights of meta-llama/Llama-3.1-70B-Instruct?"),
        ("llama3.1:8b", "did you mean llama-3.1-8b"),
        ("TheBloke/Llama-2-7B-Chat-GPTQ", "did you mean llama-2-7b"),
        ("openai/gpt-oss-120b", "`kubectl llama models` lists the names"),
    ],
)
def test_c15_a_repository_as_the_name_is_answered_with_the_entry_that_is_meant(tmp_path, name, says):
    path = tmp_path / "deployment.yaml"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "llama-operator.io/v1alpha1",
                "kind": "LlamaDeployment",
                "metadata": {"name": "chat", "namespace": "team-a"},
                "spec": {"model": {"name": name}},
            }
        ),
        encoding="utf-8",
    )
    assert says in _answer(path, name)


def _answer(path, name):
    try:
        files.read([str(path)])
    except InvalidManifestError as error:
        return str(error)
    # The form is allowed: the decision says it.
    return planned(name=name).problem.text


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        (
            "LlamaDeployment",
            {"model": {"name": "llama-3.1-8b"}, "license": {"guardModel": "meta-llama/Llama-Guard-3-8B"}},
            "spec.license.guardModel",
        ),
        (
            "LlamaModel",
            {
                "source": {"volumeClaim": {"name": "models"}},
                "digest": "0" * 64,
                "lineage": {"derivedFrom": [{"model": "meta-llama/Llama-Guard-3-8B", "kind": "Finetune"}]},
            },
            "spec.lineage.derivedFrom[0].model",
        ),
    ],
    ids=["guard", "ancestor"],
)
def test_c15_so_is_a_repository_wherever_else_a_model_is_named(tmp_path, kind, spec, path):
    manifest = tmp_path / "manifest.yaml"
    obj = {"apiVersion": "llama-operator.io/v1alpha1", "kind": kind, "metadata": {"name": "chat"}, "spec": spec}
    manifest.write_text(json.dumps(obj), encoding="utf-8")
    with pytest.raises(InvalidManifestError) as caught:
        files.read([str(manifest)])
    (problem,) = caught.value.problems
    assert (problem.path, problem.allowed) == (path, "did you mean llama-guard-3-8b?")


def test_c15_a_variant_that_is_left_out_is_answered_with_the_reason():
    problem = planned(model={"variant": "nvidia/Llama-3.3-70B-Instruct-NVFP4"}).problem
    assert problem.field == "spec.model.variant"
    assert "4-bit floating point" in problem.text
