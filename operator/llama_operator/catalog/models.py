"""Facts about models: architecture, variants, license families, each with its source.

The data is in `data/models.json`; `catalog` reads it once, `decide` plans with it, `desired` names the repository.
Every type is frozen: a plan that holds a model can never see it change.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["BF16", "FP16", "FP8", "INT8", "INT4"]
"""Precision of the block linear weights; embeddings, output layer and norms stay in 16 bits in all of them."""

Count = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(min_length=1, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
"""An id of the catalog, written as users write it in `spec.model.name`."""


class Fact(BaseModel):
    """Base of everything in the catalog: frozen, and closed to misspelled fields in a data file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class RopeScaling(Fact):
    """How rotary position embeddings are stretched beyond the length of pretraining (`rope_type: llama3`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: Count


class MixtureOfExperts(Fact):
    """Routed experts beside one shared expert; layers without them have a dense block.

    The width of a routed expert is `Architecture.intermediate_size`.
    """

    experts: Count
    experts_per_token: Count
    moe_layers: Count
    dense_layers: Annotated[int, Field(ge=0)] = 0
    shared_intermediate_size: Count
    dense_intermediate_size: Annotated[int, Field(ge=0)] = 0
    """Width of the dense blocks; 0 if every layer has experts."""


class ChunkedAttention(Fact):
    """Most layers attend within a chunk; every n-th attends to everything and has no position embedding."""

    chunk_size: Count
    """Tokens of a chunk."""
    full_attention_interval: Count
    """One of so many layers has full attention: only its KV cache grows beyond `chunk_size`."""


class CrossAttention(Fact):
    """Layers between the self-attention layers that attend to the image; `num_hidden_layers` counts them too."""

    layers: Count
    extra_embeddings: Count
    """Rows that the input embedding has beyond the vocabulary, for the image token."""
    vision_tokens_per_image: Count
    """KV cache entries that one image of the largest size takes in each cross-attention layer."""


class VisionEncoder(Fact):
    """The image encoder. It is never quantized in the variants of this catalog."""

    hidden_size: Count
    intermediate_size: Count
    layers: Count
    global_layers: Annotated[int, Field(ge=0)] = 0
    """Gated layers over all tiles, after `layers` (Llama 3.2 Vision)."""
    attention_heads: Count
    image_size: Count
    """Edge of a tile in pixels."""
    patch_size: Count
    max_tiles: Count = 1
    aspect_ratios: Annotated[int, Field(ge=0)] = 0
    """Supported tile layouts: each has position embeddings of its own."""
    output_size: Count
    """Width of the encoder's output, which the projector maps to the text's hidden size."""
    adapter_size: Annotated[int, Field(ge=0)] = 0
    """Width of the adapter after the pixel shuffle (Llama 4)."""


class Architecture(Fact):
    """Shape of a model, as its `config.json` has it."""

    class_name: Literal["LlamaForCausalLM", "MllamaForConditionalGeneration", "Llama4ForConditionalGeneration"]
    num_hidden_layers: Count
    hidden_size: Count
    intermediate_size: Count
    """Width of the gated feed-forward block; of one expert if there are several."""
    num_attention_heads: Count
    num_key_value_heads: Count
    duplicated_key_value_heads: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    """Numbers that some published copies have, in which every head of keys and values stands several times."""
    head_dim: Count
    vocab_size: Count
    tie_word_embeddings: bool
    max_position_embeddings: Count
    rope_theta: float
    rope_scaling: RopeScaling | None = None
    dtype: Literal["bfloat16", "float16"]
    """Native type of the published weights."""
    qk_norm: bool = False
    """Queries and keys are normalized. In Llama 4 without weights, so it adds no parameter."""
    moe: MixtureOfExperts | None = None
    chunked_attention: ChunkedAttention | None = None
    cross_attention: CrossAttention | None = None
    vision: VisionEncoder | None = None

    @property
    def self_attention_layers(self) -> int:
        """Layers whose KV cache grows with the text."""
        return self.num_hidden_layers - (self.cross_attention.layers if self.cross_attention else 0)


class EngineLimit(Fact):
    """Why the engine cannot load a model or a variant without more."""

    engine: Literal["vLLM"]
    last_version: str | None = None
    """Last version that loads it; None if versions of today load it with `argument`."""
    argument: str | None = None
    """Engine argument that it needs."""
    reason: str

    @property
    def sentence(self) -> str:
        """The limit for people."""
        if self.last_version is not None:
            return f"needs {self.engine} {self.last_version} or older: {self.reason}"
        return f"needs {self.engine} with {self.argument}: {self.reason}"


class WeightFile(Fact):
    """A file with weights; known of added models only."""

    name: str
    size_bytes: Annotated[int, Field(ge=0)]


class Variant(Fact):
    """Weights in one precision, in one repository."""

    precision: Precision
    repository: str | None
    """Hugging Face repository; None for weights that the project generates itself."""
    revision: str | None = None
    """Commit that is downloaded; None where none is known, and then the default branch is."""
    uri: str | None = None
    """Folder of an object store that holds the weights instead of a repository; only added models have one."""
    store_endpoint: str | None = None
    """Address of the S3 store, if it is not Amazon's."""
    store_region: str | None = None
    volume_claim: str | None = None
    """PersistentVolumeClaim that holds the weights instead of a repository; only added models have one."""
    volume_path: str = ""
    """Folder in that volume; empty for its root."""
    weight_bytes: Count
    """Weights of the whole model once loaded; 1 GB = 1e9 bytes."""
    stored_bytes: Count | None = None
    """Bytes to read if they differ from `weight_bytes`: a variant that the engine quantizes while loading."""
    bytes_source: Literal["published", "formula"]
    """Published sizes always win; `formula` is `catalog.formulas.weight_bytes`."""
    quantization: str | None = None
    """Method as vLLM's `quantization` argument names it; None for 16-bit weights."""
    gated: bool | None = None
    """Whether Hugging Face asks for a token and accepted terms; None if unknown. It says nothing about the license."""
    context_length: Count | None = None
    """Longest context in tokens if it differs from the model's."""
    vocab_size: Count | None = None
    """Vocabulary if it differs from the model's."""
    image_size: Count | None = None
    """Edge of an image tile where it differs from the model's."""
    files: tuple[WeightFile, ...] = ()
    """All weight files, where they are declared."""
    license_families: tuple[Name, ...] = ()
    """Families that the publisher of this copy adds to the model's own."""
    engine_limits: tuple[EngineLimit, ...] = ()
    notes: str = ""

    @property
    def bytes_to_read(self) -> int:
        """Bytes that a cold start reads from storage."""
        return self.stored_bytes or self.weight_bytes


class ExcludedRepository(Fact):
    """A repository that users will look for, and why it is no variant."""

    repository: str
    reason: str


class Model(Fact):
    """One checkpoint family member: a base model with its instruction-tuned and quantized copies."""

    id: Name
    family: Name
    license_families: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Families whose duties apply together; several if published sources disagree, or by lineage."""
    derived_from: Name | None = None
    """Model of this catalog whose weights this one changes; its publisher is not the licensor."""
    added: bool = False
    """From a LlamaModel, not of the built-in catalog."""
    generated: bool = False
    """Random weights, made by the project itself: nothing is downloaded."""
    modality: Literal["Text", "TextAndImage"]
    architecture: Architecture
    class_declared: bool = True
    """Whether `architecture.class_name` is a fact, and no assumption about an added model that names neither a class nor
    a base."""
    params_total: Count
    params_active: Count
    """Parameters of the language model that one token passes; the image encoder does not count."""
    context_length: Count
    """Longest context in tokens of the default variants."""
    kv_bytes_per_token: Count
    """KV cache that one token takes in 16 bits, in all layers together; an upper bound with chunked attention."""
    served_name: str
    """Default name on the endpoint; begins as the license of a derivative asks."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    """Best quality first; the first of a precision is its default, a spec chooses others by repository."""
    excluded: tuple[ExcludedRepository, ...] = ()
    engine_limits: tuple[EngineLimit, ...] = ()
    not_served: str = ""
    """Why nothing serves it as it is declared, although its license is judged and others may come from it; only of added models."""
    source: Annotated[tuple[str, ...], Field(min_length=1)]
    confidence: Literal["High", "Medium"]
    """Medium: some figure comes from a copy or a converter, not from the publisher's own config."""
    publisher_limits: str = ""
    """What the publisher's model card advises against, such as medical use; no term of the license."""
    notes: str = ""

    @property
    def engine_constraints(self) -> tuple[str, ...]:
        """Why the engine of today cannot serve the model, in sentences; empty if it can."""
        return tuple(limit.sentence for limit in self.engine_limits)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions on offer, best quality first."""
        return tuple(dict.fromkeys(variant.precision for variant in self.variants))

    def default_variant(self, precision: Precision) -> Variant | None:
        """Return the variant that `precision` means if the spec names no repository; None if there is none."""
        return next((variant for variant in self.variants if variant.precision == precision), None)

    def context_of(self, variant: Variant) -> int:
        """Return the longest context of `variant`, in tokens."""
        return variant.context_length or self.context_length
