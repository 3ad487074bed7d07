"""Cross-field rules of LoRA adapters. Part of `rules.RULES`."""

from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.adapters import AdapterSlotsSpec, AdapterSource
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_serving.config import RequestPath


def _has_places(spec: LlamaDeploymentSpec) -> bool:
    slots = spec.adapter_slots
    return not spec.adapters or slots is None or len(spec.adapters) <= slots.max_adapters


def _names_differ(spec: LlamaDeploymentSpec) -> bool:
    names = [adapter.name.lower() for adapter in spec.adapters]
    aliases = {alias.lower() for alias in spec.endpoint.aliases}
    return len(set(names)) == len(names) and aliases.isdisjoint(names)


ADAPTER_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        model=LlamaDeploymentSpec,
        field="adapters",
        cel="!has(self.adapters) || self.adapters.size() == 0 || has(self.adapterSlots)",
        holds=lambda spec: not spec.adapters or spec.adapter_slots is not None,
        message="may be set only with adapterSlots: an engine makes room for adapters when it starts; set adapterSlots ({} takes the "
        "defaults), which starts new engines",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="adapters",
        cel="!has(self.adapters) || !has(self.adapterSlots) || self.adapters.size() <= self.adapterSlots.maxAdapters",
        holds=_has_places,
        message="must not be longer than adapterSlots.maxAdapters: remove some, or raise it, which starts new engines",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="adapters",
        cel="!has(self.adapters) || self.adapters.all(a, "
        "self.adapters.exists_one(b, b.name.lowerAscii() == a.name.lowerAscii()) && "
        "(!has(self.endpoint.aliases) || self.endpoint.aliases.all(n, n.lowerAscii() != a.name.lowerAscii())))",
        holds=_names_differ,
        message="must not have a name of another adapter or of endpoint.aliases, nor one that differs only by the case of letters: people "
        "would take one for the other; give each adapter a name of its own",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="adapterSlots",
        cel=f"!has(self.adapterSlots) || self.endpoint.path == '{RequestPath.DIRECT}'",
        holds=lambda spec: spec.adapter_slots is None or spec.endpoint.path is RequestPath.DIRECT,
        message="may be set only when endpoint.path is Direct: the other path serves no adapters; set endpoint.path to Direct, or "
        "leave adapterSlots out",
    ),
    Rule(
        model=AdapterSlotsSpec,
        field="maxAdapters",
        cel="self.maxAdapters >= self.maxLoras",
        holds=lambda slots: slots.max_adapters >= slots.max_loras,
        message="must be at least maxLoras; raise maxAdapters or lower maxLoras",
    ),
    Rule(
        model=AdapterSource,
        field="path",
        cel="has(self.path) != has(self.huggingFace)",
        holds=lambda source: (source.path is None) != (source.hugging_face is None),
        message="must be set, or huggingFace in its place, and not both; name the one place where the adapter is",
    ),
    Rule(
        model=AdapterSource,
        field="path",
        cel="!has(self.path) || !self.path.matches('(^|/)[.][.](/|$)')",
        holds=lambda source: source.path is None or ".." not in source.path.split("/"),
        message="must not leave the volume; write the folder without '..'",
    ),
)
