"""Situations of public users, with the values of their threads: what the planner makes of each, or says.

Ids are those of the list that the project keeps of such situations.
"""

import pytest

from support.planning import planned

BF16 = {"precision": "BF16"}
EAGER = {"gpuMemoryUtilizationPercent": 95, "arguments": {"graphs": "Eager"}}


def manual(tensor, pipeline=None):
    return {"mode": "Manual", "tensor": tensor} | ({"pipeline": pipeline} if pipeline else {})


def case(expected, **spec):
    return pytest.param(spec, expected, id=spec.pop("id"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # expected: tensor, pipeline, nodes of a replica, and the context or what the KV cache holds.
        case(
            (1, 1, 1, 26_592),
            id="C08 no length, one A10G a node",
            name="llama-3.1-8b",
            accelerator="A10G-24GB",
            model=BF16,
            hardware={"gpusPerNode": 1},
        ),
        case((1, 1, 1, 26_592), id="C08 L4, eight a node", name="llama-3.1-8b", accelerator="L4-24GB", model=BF16),
        case(
            (1, 3, 1, 232_016),
            id="C10 three H100",
            model=BF16,
            hardware={"gpusPerNode": 3, "maxGPUs": 3},
            context={"maxModelLength": 32_768},
        ),
        case(
            (1, 3, 1, 232_016),
            id="C10 three of eight H100",
            model=BF16,
            hardware={"maxGPUs": 3},
            context={"maxModelLength": 32_768},
        ),
        case(
            (2, 3, 1, 51_280),
            id="C10 six H100",
            name="llama-3.1-405b",
            model={"precision": "FP8"},
            hardware={"gpusPerNode": 6},
            context={"maxModelLength": 32_768},
        ),
        case(
            (2, 6, 2, 109_616),
            id="C10 two nodes of six H100",
            name="llama-3.1-405b",
            model=BF16,
            hardware={"gpusPerNode": 6},
            context={"maxModelLength": 32_768},
        ),
        case(
            (1, 4, 1, 98_256),
            id="C40 six A6000, Auto",
            accelerator="A6000-48GB",
            model=BF16,
            hardware={"gpusPerNode": 6, "maxGPUs": 6},
            context={"maxModelLength": 8192},
        ),
        case(
            (1, 2, 2, 149_184),
            id="C42 AWQ over two nodes with one card",
            accelerator="A6000-48GB",
            model={"precision": "INT4"},
            hardware={"gpusPerNode": 1},
            parallelism=manual(1, 2),
            context={"maxModelLength": 8192},
        ),
        case(
            (4, 1, 1, 409_872),
            id="C43 Scout, four H100",
            name="llama-4-scout",
            model=BF16,
            hardware={"gpusPerNode": 4},
            engine=EAGER,
            context={"maxModelLength": 49_152},
        ),
        case(
            (2, 1, 1, 22_480),
            id="C45 FP16 on two H100",
            model={"precision": "FP16"},
            hardware={"maxGPUs": 2},
            context={"maxModelLength": 20_000},
        ),
        case(
            (4, 3, 3, 224_384),
            id="C46 405B on A6000",
            name="llama-3.1-405b",
            accelerator="A6000-48GB",
            model={"precision": "FP8"},
            hardware={"gpusPerNode": 4},
            context={"maxModelLength": 8192},
        ),
        case(
            (4, 3, 3, 153_184),
            id="C46 405B on L40S",
            name="llama-3.1-405b",
            accelerator="L40S-48GB",
            model={"precision": "FP8"},
            hardware={"gpusPerNode": 4},
            context={"maxModelLength": 8192},
        ),
        case(
            (1, 7, 1, 9_376),
            id="vllm#5003 70B on seven cards of 24 GB",
            name="llama-3-70b",
            accelerator="RTX3090-24GB",
            model=BF16,
            hardware={"gpusPerNode": 7, "maxGPUs": 7},
            engine={"gpuMemoryUtilizationPercent": 94},
            context={"maxModelLength": 8192},
        ),
        case(
            (4, 16, 16, 799_184),
            id="vllm#6938 405B, tensor 4 and sixteen stages on nodes of four",
            name="llama-3.1-405b",
            accelerator="A10G-24GB",
            hardware={"gpusPerNode": 4},
            parallelism=manual(4, 16),
            context={"maxModelLength": 4096},
        ),
        case(
            (1, 2, 2, 19_680),
            id="C48 nodes with one H100, Auto",
            model=BF16,
            hardware={"gpusPerNode": 1},
            context={"maxModelLength": 8192},
        ),
    ],
)
def test_it_is_planned(spec, expected):
    chosen = planned(**spec).chosen
    sizes = (chosen.tensor_parallel_size, chosen.pipeline_parallel_size, chosen.nodes_per_replica)
    tokens = chosen.kv_cache_tokens if "context" in spec else chosen.max_model_length
    assert (*sizes, tokens) == expected


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        case(
            ("6 does not divide 64 attention heads and 8 KV heads", "possible sizes: 1, 2, 4, 8, 16, 32, 64"),
            id="C40 tensor 6",
            accelerator="A6000-48GB",
            model=BF16,
            hardware={"gpusPerNode": 6},
            parallelism=manual(6),
        ),
        case(
            ("8 does not divide 52 attention heads", "1, 2, 4, 13, 26, 52"),
            id="C41 33B with 52 heads, tensor 8",
            name="llama-1-33b",
            accelerator="A100-80GB",
            parallelism=manual(8),
        ),
        case(
            ("WeightsDoNotFit", "needs 4 GPUs (TP4 PP1)", "parallelism.mode Auto (TP4 PP1)"),
            id="C44 Scout on two A100",
            name="llama-4-scout",
            accelerator="A100-80GB",
            model=BF16,
            engine={"gpuMemoryUtilizationPercent": 99},
            parallelism=manual(2),
            context={"maxModelLength": 32_768},
        ),
        case(
            ("0.10.2 or older", "another image does not change that", "llama-4-scout"),
            id="C47 vision model",
            name="llama-3.2-11b-vision",
            accelerator="L4-24GB",
        ),
    ],
)
def test_it_is_refused_with_what_helps(spec, says):
    problem = planned(**spec).problem
    for words in says:
        assert words in f"{problem.reason} {problem.text}"


@pytest.mark.parametrize(
    ("spec", "nodes"),
    [
        case(2, id="405B, tensor 16 on two nodes", name="llama-3.1-405b", model=BF16, parallelism=manual(16)),
        case(
            2,
            id="vllm#29447 tensor 8 on two nodes of four",
            accelerator="GB200-186GB",
            model=BF16,
            hardware={"gpusPerNode": 4},
            parallelism=manual(8),
        ),
        case(
            8, id="C48 tensor 8 on nodes with one H100", model=BF16, hardware={"gpusPerNode": 1}, parallelism=manual(8)
        ),
    ],
)
def test_a_tensor_size_over_nodes_that_is_named_is_used_with_a_warning(spec, nodes):
    found = planned(context={"maxModelLength": 8192}, **spec)
    chosen = found.chosen
    assert (chosen.tensor_parallel_size, chosen.nodes_per_replica) == (spec["parallelism"]["tensor"], nodes)
    assert "waits for the network" in chosen.warning
    assert chosen.network_gigabits_per_second == 400
