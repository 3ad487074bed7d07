"""What the pods have to find in a model's folder, from the facts that were declared. Called by `desired.serve_config` and `desired.shared`.

Pinned with the revision. Only facts that no fine-tuning and no quantization changes are handed over; what a copy may
differ in (number type, length, rotary scaling) is not.
"""

from dataclasses import dataclass

from llama_operator.catalog.models import Architecture, Model, Variant
from llama_operator.decide.copies.source import Copy, Role, is_of
from llama_operator.decide.decision import Decision
from llama_serving.contract.contents import DeclaredContents, DeclaredFile

_KINDS = {
    "LlamaForCausalLM": (("LlamaForCausalLM", "LLaMAForCausalLM"), ("llama",)),
    # The language part of a multimodal model may be served without the rest; its license stays that of the whole.
    "MllamaForConditionalGeneration": (
        ("MllamaForConditionalGeneration", "MllamaForCausalLM"),
        ("mllama", "mllama_text_model"),
    ),
    "Llama4ForConditionalGeneration": (
        ("Llama4ForConditionalGeneration", "Llama4ForCausalLM"),
        ("llama4", "llama4_text"),
    ),
}
"""What `architectures` and `model_type` of config.json may be for each class of the catalog."""


def declared_contents(model: Model, variant: Variant) -> DeclaredContents:
    """Return what the folder of `variant` has to hold."""
    shape = model.architecture
    architectures, model_types = _KINDS[shape.class_name] if model.class_declared else ((), ())
    return DeclaredContents(
        declared_by=f"LlamaModel {model.id}" if model.added else f"the catalog's {model.id}",
        architectures=architectures,
        model_types=model_types,
        sizes=_sizes(shape),
        vocab_size=variant.vocab_size or shape.vocab_size,
        experts=shape.moe.experts if shape.moe else 0,
        takes_images=shape.vision is not None or model.modality != "Text",
        # Sizes in the catalog are of what is loaded, those of a LlamaModel of its files.
        weight_bytes=variant.weight_bytes if model.added and variant.bytes_source == "published" else None,
        files=tuple(DeclaredFile(name=file.name, size_bytes=file.size_bytes) for file in variant.files),
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """What the small files of a copy have to say before its weights are fetched.

    Attributes:
        license: Whether a license text has to be among them.
        shape: What config.json has to say; None for an adapter, and where the model is not known any more.
    """

    license: bool = False
    shape: DeclaredContents | None = None


def expected(decision: Decision, copy: Copy) -> Expected:
    """Return what engines would refuse to start without: the Job that copies asks for it first, before any GPU waits."""
    guard = None if decision.guard is None else decision.guard.model
    model = {Role.MODEL: decision.model, Role.GUARD: guard, Role.ADAPTER: None}[copy.role]
    variant = None if model is None else next((one for one in model.variants if is_of(copy.source, one)), None)
    verdict = decision.license
    asks = copy.role is Role.MODEL and verdict is not None and verdict.duties.license_files == "Required"
    if model is None or variant is None:
        return Expected(asks)
    # Files are fetched as they are: nothing is said of these.
    return Expected(asks, declared_contents(model, variant).model_copy(update={"weight_bytes": None, "files": ()}))


def _sizes(shape: Architecture) -> dict[str, tuple[int, ...]]:
    heads = shape.num_key_value_heads
    return {
        "num_hidden_layers": (shape.num_hidden_layers,),
        "hidden_size": (shape.hidden_size,),
        "intermediate_size": (shape.intermediate_size,),
        "num_attention_heads": (shape.num_attention_heads,),
        "num_key_value_heads": (heads, *shape.duplicated_key_value_heads),
        "head_dim": (shape.head_dim,),
    }
