"""What is drawn for a fuzz case: specs of our kinds from the schemas of their CRDs, statuses, and values that make no sense.

Used by `setup` and `steps`. A new field of a CRD is drawn without a line here; a hint only makes it likelier to mean something.
"""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.api import meta, paths
from llama_operator.api.manifest import parse
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Object, Ref
from support.fuzzing import schemas, validity
from support.fuzzing.world import NAME, NAMESPACE, World

Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]

SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"
ADDED = ("acme-chat", "acme-base")
"""Names of the LlamaModels of a case."""
STRANGE_TEXT = st.one_of(
    st.sampled_from(
        [
            *schemas.TIMES,
            "2026-03-02",
            "2026-03-02T09:30:00",
            "soon",
            "",
            "9" * 4301,
            "{}",
            "[" * 3000,
            "null",
            "\x1b[31m",
            "Auto",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
STRANGE_JSON = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), STRANGE_TEXT
    ),
    lambda below: st.one_of(
        st.lists(below, max_size=2), st.dictionaries(st.sampled_from(["a", "name", "plan"]), below, max_size=2)
    ),
    max_leaves=4,
)

ACCEPTANCES = ("acme-llama-3-1", "acme-llama-3-3", "acme-other")
_LICENSE = {"acceptance": "acme-llama-3-1", "purpose": "Production", "attributionURL": "https://acme.example/about"}
_TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "context": {"maxModelLength": 256}}
BASES: tuple[Mapping[str, Any], ...] = (
    _TINY,
    _TINY | {"scaling": {"minReplicas": 0, "maxReplicas": 4}},
    _TINY
    | {
        "context": {"maxModelLength": 1024},
        "guard": {"model": {"name": "tiny-random-llama"}, "placement": "Shared"},
        "scaling": {"minReplicas": 1, "maxReplicas": 3},
    },
    {
        "model": {"name": "llama-3.1-8b"},
        "hardware": {"accelerator": "L40S-48GB"},
        "license": _LICENSE,
        "context": {"maxModelLength": 4096},
        "guard": {"model": {"name": "llama-guard-3-8b"}, "placement": "Shared"},
    },
    {"model": {"name": "llama-3.1-8b"}, "hardware": {"accelerator": "L40S-48GB"}, "license": _LICENSE},
    {"model": {"name": "llama-3.1-8b"}, "license": _LICENSE, "context": {"maxModelLength": 4096}},
    {"model": {"name": "acme-chat"}, "hardware": {"accelerator": "H100-80GB"}, "context": {"maxModelLength": 256}},
    {
        "model": {"name": "llama-3.3-70b-instruct"},
        "hardware": {"accelerator": "H100-80GB"},
        "license": _LICENSE | {"acceptance": "acme-llama-3-3"},
        "context": {"maxModelLength": 8192},
    },
)


_USUAL = ("tiny-random-llama", "llama-3.1-8b", "llama-3.3-70b-instruct", *ADDED) * 4
"""Names of models that can be had in most cases."""


@functools.cache
def names() -> tuple[str, ...]:
    return (*ADDED, *(model.id for model in catalog.load().models))


@functools.cache
def _accelerators() -> tuple[str, ...]:
    return ("Auto", *catalog.load().accelerator_names)


@functools.cache
def _hints() -> Mapping[str, st.SearchStrategy[Any]]:
    """Values that exist, by the end of the path of a field, where its schema allows any name."""
    return {
        "model.name": st.sampled_from([*_USUAL, *_USUAL, *names()]),
        "derivedFrom.model": st.sampled_from(names()),
        "guardModel": st.sampled_from(names()),
        "trainedModels": st.sampled_from(["Llama 3 Acme", *names()[:4]]),
        "acceptance": st.sampled_from(ACCEPTANCES),
        "supersededBy": st.sampled_from(ACCEPTANCES),
        "amilies": st.sampled_from([family.id for family in catalog.load().families]),
        "namespaces": st.just(NAMESPACE),
        "accelerator": st.sampled_from(_accelerators()),
        "attributionURL": st.sampled_from(
            ["https://acme.example/about", "http://[", "https://[é]", "http://℀.com", "http:///x"]
        ),
        "numServeEndpoints": st.sampled_from([0, 1, 1, 2]),
        "restartedAt": st.sampled_from(schemas.TIMES[:3]),
    }


def _hint(path: str) -> st.SearchStrategy[Any] | None:
    return next((drawn for end, drawn in _hints().items() if path.endswith(end)), None)


@functools.cache
def _fields(kind: str) -> tuple[tuple[str, Any], ...]:
    """Every field of a spec, by path, with a strategy of its values."""
    spec = validity.ours(kind)["properties"]["spec"]
    return tuple((path, schemas.values(below, _hint, path)) for path, below in schemas.nodes(spec))


@functools.cache
def statuses(kind: str) -> st.SearchStrategy[Any]:
    return schemas.values(validity.ours(kind)["properties"]["status"], _hint)


@functools.cache
def reports() -> st.SearchStrategy[Any]:
    return schemas.values(validity.kuberay("rayservices")["properties"]["status"], _hint)


def changed(draw: Draw, kind: str, spec: Mapping[str, Any], most: int) -> tuple[dict[str, Any], bool]:
    """The spec with some fields drawn anew, and whether it is valid; what a rule refuses is seldom kept."""
    valid = dict(spec)
    for _ in range(draw(st.integers(0, most))):
        path, strategy = draw(st.sampled_from(_fields(kind)))
        tried = paths.merged(valid, paths.nested({path: draw(strategy)}))
        if parses(kind, tried):
            valid = tried
        elif draw(st.integers(0, 7)) == 7:
            # As one that was accepted under an older definition.
            return tried, False
    return valid, True


def parses(kind: str, spec: Mapping[str, Any], name: str = NAME) -> bool:
    try:
        parse(json.loads(json.dumps(manifest(kind, name, spec))))
    except InvalidManifestError:
        return False
    return True


def manifest(kind: str, name: str, spec: Mapping[str, Any]) -> Object:
    metadata = {"name": name} | ({"namespace": NAMESPACE} if kind == "LlamaDeployment" else {})
    return {"apiVersion": meta.API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}


async def apply(world: World, obj: Object) -> None:
    """Write a whole object, as `kubectl replace` does."""
    ref = Ref(kinds.find(obj["apiVersion"], obj["kind"]), obj["metadata"].get("namespace", ""), obj["metadata"]["name"])  # type: ignore[arg-type]
    live = await world.find(ref)
    if live is None:
        await world.user.apply(obj)
        return
    removed = {name: None for name in live.get("spec", {}) if name not in obj["spec"]}
    await world.user.merge_patch(ref, {"spec": replacing(live.get("spec", {}), obj["spec"]) | removed})


def replacing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `new` of `old`."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        below = old.get(name)
        patch[name] = replacing(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return patch
