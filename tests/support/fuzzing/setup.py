"""What stands in the cluster before a deployment comes: nodes, LlamaModels, license records. Used by `cases` and `steps`."""

import functools

from hypothesis import strategies as st

from llama_operator.cli.shared.documents import documents
from llama_operator.kube.port import Object
from support.fuzzing.specs import ADDED, SAMPLES, Draw, apply, changed, manifest
from support.fuzzing.world import NAMESPACE, World

PRODUCTS = ("NVIDIA-H100-80GB-HBM3", "NVIDIA-L4", "NVIDIA-L40S", "Tesla-K80", "")
AMOUNTS = ("8", "4", "1", "0", "192", "1k", "100u", "1500m", "2Ki", "1e3", "many", "-1", "", "9" * 40, 8, 1.5, True)


async def nodes(world: World, draw: Draw) -> None:
    for number in range(draw(st.integers(0, 2))):
        await node(world, draw, f"node-{number}")


async def node(world: World, draw: Draw, name: str) -> None:
    product, amount, cpu = (draw(st.sampled_from(each)) for each in (PRODUCTS, AMOUNTS, AMOUNTS))
    labels = {"nvidia.com/gpu.product": product} if product else {}
    address = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
    await world.user.apply(address | {"spec": {"unschedulable": True}} if draw(st.integers(0, 9)) == 9 else address)
    more = {"memory": draw(st.sampled_from(("2Ti", "16Gi"))), "ephemeral-storage": "8Ti", "pods": "110"}
    status = {"allocatable": more | {"cpu": cpu, "nvidia.com/gpu": amount}}
    await world.user.apply_status({**address, "metadata": {"name": name}, "status": status})
    for number in range(draw(st.integers(0, 1))):
        held = {"resources": {"limits": {"nvidia.com/gpu": draw(st.sampled_from(AMOUNTS))}}, "name": "c", "image": "i"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{name}-{number}", "namespace": "default"}}
        await world.user.apply(pod | {"spec": {"nodeName": name, "containers": [held]}})


_CHECKPOINT = {
    "source": {"huggingFace": {"repository": "acme/chat", "revision": "a" * 40}},
    "digest": "0" * 64,
    "servedName": "Llama-acme",
}
_SHAPE = {
    "numHiddenLayers": 16,
    "hiddenSize": 2048,
    "intermediateSize": 7168,
    "numAttentionHeads": 32,
    "vocabSize": 99840,
    "maxPositionEmbeddings": 4096,
}


async def models(world: World, draw: Draw) -> None:
    for name in ADDED[: draw(st.integers(0, 2))]:
        await model(world, draw, name)


async def model(world: World, draw: Draw, name: str) -> None:
    base = draw(st.sampled_from(["llama-3.1-8b", "llama-3.2-11b-vision", "llama-4-scout", "llama-2-7b", ""]))
    if base:
        made = _CHECKPOINT | {"lineage": {"derivedFrom": [{"model": base, "kind": "Finetune"}]}}
    else:
        made = _CHECKPOINT | {"licenseFamilies": ["mit"], "architectureFingerprint": _SHAPE}
    spec, _ = changed(draw, "LlamaModel", made, 3)
    await apply(world, manifest("LlamaModel", name, spec))


_CARD = {
    "memoryMebibytes": 12288,
    "computeCapability": "7.5",
    "nodes": [{"labels": [{"key": "nvidia.com/gpu.product", "values": ["Tesla-K80"]}]}],
}


async def cards(world: World, draw: Draw) -> None:
    if draw(st.integers(0, 3)) == 3:
        spec, _ = changed(draw, "Accelerator", _CARD, 3)
        await apply(world, manifest("Accelerator", "own-card", spec))


@functools.cache
def records() -> tuple[Object, ...]:
    """The acceptances of the samples, for the namespace of the cases."""
    found = documents(SAMPLES / "license-acceptance.yaml")
    return tuple(record | {"spec": record["spec"] | {"namespaces": [NAMESPACE]}} for record in found)


async def licenses(world: World, draw: Draw) -> None:
    for record in records():
        await world.user.apply(record)
    if draw(st.integers(0, 3)) == 3:
        await policy(world, draw)


async def policy(world: World, draw: Draw) -> None:
    spec, _ = changed(draw, "LicensePolicy", {}, 3)
    await apply(world, manifest("LicensePolicy", "house", spec))
