"""The `LlamaModel` resource: a checkpoint that an administrator adds to the built-in catalog, pinned by digest.

Read by `catalog.additions`, which makes a catalog entry of it, and by `decide.license`, which follows its lineage.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from llama_operator.api.meta import API_VERSION, ApiModel, ObjectMeta
from llama_operator.api.v1alpha1.common import (
    LETTER_OR_DIGIT,
    MAX_FAMILIES,
    ConditionedStatus,
    Date,
    FamilyId,
    ObjectName,
    Party,
    Sha256,
)
from llama_serving.contract.adapters import MOST_NAME_CHARACTERS


class DerivationKind(StrEnum):
    """How a model was made from another one."""

    FINETUNE = "Finetune"
    ADAPTER = "Adapter"
    MERGE = "Merge"
    QUANTIZED = "Quantized"
    TRAINING_OUTPUT = "TrainingOutput"
    RENAMED = "Renamed"


class Modality(StrEnum):
    """What the model takes as input."""

    TEXT = "Text"
    TEXT_AND_IMAGE = "TextAndImage"


class StoredPrecision(StrEnum):
    """Number format of the weights as they are stored."""

    BF16 = "BF16"
    FP16 = "FP16"
    FP8 = "FP8"
    INT8 = "INT8"
    INT4 = "INT4"


class EmbeddingTie(StrEnum):
    """Whether input embedding and output layer are one matrix."""

    TIED = "Tied"
    UNTIED = "Untied"


class HuggingFaceSource(ApiModel):
    """A repository of the Hugging Face Hub, at one commit."""

    repository: Annotated[str, Field(min_length=3, max_length=192, pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")]
    """Repository, `owner/name`."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", min_length=40, max_length=40)]
    """Commit, 40 hexadecimal digits. A branch or a tag can move and is not accepted."""


class ObjectStoreSource(ApiModel):
    """A folder of an object store. Pods read it as their service account, or with `weights.storeSecret` of the deployment."""

    uri: Annotated[str, Field(min_length=6, max_length=1024, pattern=r"^[a-z0-9]+://[A-Za-z0-9][A-Za-z0-9._/=+@-]*$")]
    """Folder with the checkpoint: `s3://bucket/folder`, `gs://bucket/folder`, `s3://anonymous@bucket/folder` for a store that asks for
    no credentials, `abfss://container@account.dfs.core.windows.net/folder`, `azure://container@account.blob.core.windows.net/folder`,
    or `az://container/folder` with `account`. Only serving pods read it."""
    account: Annotated[str, Field(min_length=3, max_length=24, pattern=r"^[a-z0-9]+$")] | None = None
    """Azure storage account, for a `uri` that begins with `az://`."""
    endpoint: (
        Annotated[str, Field(min_length=8, max_length=253, pattern=r"^https?://[A-Za-z0-9][A-Za-z0-9.:/-]*$")] | None
    ) = None
    """Address of another S3 store than Amazon's, for example `http://minio.storage:9000`."""
    region: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9-]*$")] | None = None
    """Region of an S3 bucket, for example `eu-central-1`."""


class VolumeClaimSource(ApiModel):
    """A folder of a PersistentVolumeClaim in the namespace of the deployment."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
    """Name of the claim."""
    path: Annotated[str, Field(max_length=1024, pattern=r"^[A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)*$")] = ""
    """Folder in the volume, without leading slash; empty for its root."""


class ModelSource(ApiModel):
    """Where the weights are; set exactly one of these."""

    hugging_face: HuggingFaceSource | None = None
    """A repository of the Hugging Face Hub."""
    object_store: ObjectStoreSource | None = None
    """A folder of an object store."""
    volume_claim: VolumeClaimSource | None = None
    """A folder of a PersistentVolumeClaim."""


class Ancestor(ApiModel):
    """A model whose weights or outputs went into this one."""

    model: ObjectName
    """Catalog entry or LlamaModel."""
    kind: DerivationKind
    """How this model was made from it."""


class Lineage(ApiModel):
    """Where the model comes from. The duties of every ancestor apply, also if the model has a license of its own."""

    derived_from: Annotated[tuple[Ancestor, ...], Field(max_length=16, strict=False)] = ()
    """Every model that went into it: base, adapter, merged models, models whose outputs it was trained on. Empty means
    that it comes from no other model."""


class ArchitectureFingerprint(ApiModel):
    """Facts of the checkpoint's own `config.json`. They must fit the declared lineage."""

    class_name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z][A-Za-z0-9]*$")] | None = None
    """`architectures[0]`, for example `LlamaForCausalLM`."""
    num_hidden_layers: Annotated[int, Field(ge=1, le=4096)] | None = None
    """`num_hidden_layers`."""
    hidden_size: Annotated[int, Field(ge=1, le=1_048_576)] | None = None
    """`hidden_size`."""
    intermediate_size: Annotated[int, Field(ge=1, le=4_194_304)] | None = None
    """`intermediate_size`."""
    num_attention_heads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """`num_attention_heads`."""
    num_key_value_heads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """`num_key_value_heads`."""
    head_dim: Annotated[int, Field(ge=1, le=4096)] | None = None
    """`head_dim`, or `hidden_size / num_attention_heads`."""
    vocab_size: Annotated[int, Field(ge=1, le=16_777_216)] | None = None
    """`vocab_size`."""
    max_position_embeddings: Annotated[int, Field(ge=1, le=134_217_728)] | None = None
    """`max_position_embeddings`."""
    rope_theta: Annotated[int, Field(ge=1, le=1_000_000_000_000)] | None = None
    """`rope_theta`, as a whole number."""
    embeddings: EmbeddingTie | None = None
    """`Tied` if `tie_word_embeddings` is true."""


class DeclaredWeightFile(ApiModel):
    """A file with weights."""

    name: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors$")]
    """Name in the model's folder, for example `model-00001-of-00004.safetensors`."""
    size_bytes: Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
    """Its size."""


class Weights(ApiModel):
    """How the weights are stored."""

    precision: StoredPrecision = StoredPrecision.BF16
    """Number format of the linear layers."""
    quantization: Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9_-]*$")] = ""
    """Method as vLLM names it, for example `compressed-tensors`; empty for 16-bit weights."""
    size_bytes: Annotated[int, Field(ge=1, le=9_007_199_254_740_991)] | None = None
    """Bytes of all weight files together. Default: computed from the shape, which is less exact. If it is set, pods refuse
    a folder whose files differ from it by more than 1 %."""
    files: Annotated[tuple[DeclaredWeightFile, ...], Field(max_length=512, strict=False)] = ()
    """Every weight file with its size (`stat -c '%n %s' *.safetensors`). If it is set, pods refuse a folder with other
    files or sizes."""


class OtherLicense(ApiModel):
    """A license that the catalog does not list."""

    name: Annotated[str, Field(min_length=2, max_length=128, pattern=LETTER_OR_DIGIT)]
    """Its name, for example `Falcon 3 TII License`."""
    url: Annotated[
        str, Field(min_length=12, max_length=1024, pattern=r"^https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/\S*)?$")
    ]
    """Where its text is."""


class Independence(ApiModel):
    """Who attests that the model comes from no Llama, although its name or shape suggests one."""

    attested_by: Party
    """Person who attests it."""
    attested_on: Date
    """Day of the attestation."""
    evidence: Annotated[str, Field(min_length=2, max_length=1024, pattern=LETTER_OR_DIGIT)]
    """What shows it, for example the address of the paper or the model card."""


OTHER_FAMILY = "other"
"""License family of models under a license that the catalog does not list."""


class LlamaModelSpec(ApiModel):
    """Which checkpoint, where it is, and what it was made from."""

    source: ModelSource
    """Where the weights are."""
    digest: Sha256
    """SHA-256 of the manifest of the checkpoint's files (docs/licenses.md). Other files are another LlamaModel."""
    lineage: Lineage = Lineage()
    """What it was made from."""
    license_families: Annotated[tuple[FamilyId, ...], Field(max_length=MAX_FAMILIES, strict=False)] = ()
    """License families under which its publisher puts it, for example `mit`, or `other` with `otherLicense`. They add to those of its ancestors and
    never replace them."""
    other_license: OtherLicense | None = None
    """The license of a model with `other` in `licenseFamilies`. House policy judges it as tier `OtherLicense`."""
    independence: Independence | None = None
    """Attestation that it comes from no Llama, for models trained from scratch such as TinyLlama. It does not stand
    against a version in its name, a tag, or the shape of a Llama 3 or newer."""
    modality: Modality | None = None
    """What it takes as input. Default: as its ancestors. A multimodal ancestor makes it multimodal for the license."""
    architecture_fingerprint: ArchitectureFingerprint = ArchitectureFingerprint()
    """Facts of its `config.json`. What is left out is as in the first ancestor that it got its weights from."""
    context_length: Annotated[int, Field(ge=16, le=134_217_728)] | None = None
    """Longest context in tokens. Default: as its base."""
    weights: Weights = Weights()
    """How the weights are stored."""
    served_name: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=MOST_NAME_CHARACTERS,
                pattern=r"^[A-Za-z0-9]([A-Za-z0-9 ._/-]*[A-Za-z0-9])?$",
            ),
        ]
        | None
    ) = None
    """Name of the model on the endpoint. Derivatives of Llama 3 and newer have to begin with `Llama`. Default: the name
    of this object."""
    tags: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...], Field(max_length=64, strict=False)
    ] = ()
    """Tags of its publisher's model card, unchanged."""


class LlamaModelStatus(ConditionedStatus):
    """What the operator found out about the model."""

    tier: Annotated[str, Field(max_length=63)] = ""
    """Strictest license tier of its lineage; `Unresolved` if the lineage is not known."""
    license_families: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=64)] = ()
    """License families whose duties apply: its own and those of every ancestor."""
    acceptance_required: Annotated[str, Field(max_length=16)] = ""
    """`Required` if one of them has to be accepted, else `NotRequired`."""
    ancestors: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=256)] = ()
    """Every model that it comes from, nearest first."""


class LlamaModel(ApiModel):
    """A checkpoint that an administrator adds to the catalog, with its lineage, pinned by digest."""

    api_version: Literal["llama-operator.io/v1alpha1"] = API_VERSION
    kind: Literal["LlamaModel"] = "LlamaModel"
    metadata: ObjectMeta
    spec: LlamaModelSpec
    """Which checkpoint."""
    status: LlamaModelStatus | None = None
    """What the operator found out."""
