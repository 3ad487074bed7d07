"""`spec.adapterSlots` and `spec.adapters`: LoRA adapters of a deployment. Part of the `LlamaDeployment` resource.

The room for them belongs to a revision, because vLLM takes its memory when it starts. The list is live: `decide.bounds` makes
live settings of it, and the serving pods load and unload (`llama_serving.contract.adapters`).
"""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from llama_operator.api.meta import ApiModel
from llama_operator.api.v1alpha1.common import FamilyId
from llama_operator.api.v1alpha1.pods import ObjectName
from llama_serving.contract.adapters import MOST_ADAPTERS, AdapterName, AdapterPath, Repository

MAX_ADAPTER_FAMILIES = 8


class AdapterSlotsSpec(ApiModel):
    """Room for LoRA adapters in each engine."""

    max_loras: Annotated[int, Field(ge=1, le=64)] = 4
    """Adapters that one batch may use. Each of these places takes GPU memory for an adapter of `maxLoraRank`, from the KV cache;
    the plan says how much."""
    max_lora_rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Largest rank of an adapter. The engine rounds it up to 1, 8, 16, 32, 64, 128, 256, 320 or 512."""
    max_adapters: Annotated[int, Field(ge=1, le=MOST_ADAPTERS)] = 8
    """Adapters that each replica holds, in memory of its node; `adapters` may list as many. At least `maxLoras`."""
    volume_claim: ObjectName | None = None
    """Name of a PersistentVolumeClaim in the namespace of the deployment, which pods mount read-only. The paths of `adapters` are
    below its root. Default: the claim that holds the weights of the model, if one does."""


class AdapterRepository(ApiModel):
    """A repository of the Hugging Face Hub, at one commit."""

    repository: Annotated[str, Field(min_length=3, max_length=192, pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")]
    """Repository, `owner/name`."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", min_length=40, max_length=40)]
    """Commit, 40 hexadecimal digits. A branch or a tag can move and is not accepted."""


class AdapterSource(ApiModel):
    """Where an adapter is; set exactly one of these."""

    path: AdapterPath | None = None
    """Folder below the root of the claim, with `adapter_config.json` and `adapter_model.safetensors`."""
    hugging_face: AdapterRepository | None = None
    """A repository of the Hugging Face Hub, with these files at its top. Pods fetch them when they start: such an adapter starts
    new engines when it comes, changes or goes. `weights.tokenSecret` is its token."""


class AdapterSpec(ApiModel):
    """A LoRA adapter, served under its own name."""

    name: AdapterName
    """Name in requests, in the list of models and in the scope of keys. Adapters of Llama 3 and newer have to begin with `Llama`."""
    source: AdapterSource
    """Where it is."""
    license_families: Annotated[tuple[FamilyId, ...], Field(max_length=MAX_ADAPTER_FAMILIES, strict=False)] = ()
    """License families under which its maker puts it, for example `mit`. They add to those of the model and never replace them."""


def repository_of(adapter: AdapterSpec) -> Repository | None:
    """Return the repository of an adapter in the terms of the pods; None for one on a volume."""
    source = adapter.source.hugging_face
    return None if source is None else Repository(repository=source.repository, revision=source.revision)


def _each_once(adapters: tuple[AdapterSpec, ...]) -> tuple[AdapterSpec, ...]:
    """Refuse a repeated name: in the API server the list is a map by name, which has no rule of its own."""
    names = [adapter.name for adapter in adapters]
    if len(set(names)) != len(names):
        raise PydanticCustomError("repeated", "must have each name once; give each adapter a name of its own")
    return adapters


AdapterList = Annotated[
    tuple[AdapterSpec, ...], Field(max_length=MOST_ADAPTERS, strict=False), AfterValidator(_each_once)
]
"""Adapters by name."""
