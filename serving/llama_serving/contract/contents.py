"""What a model's folder has to hold before an engine starts. The operator declares it, `llama_serving.contents` checks it."""

from typing import Annotated

from pydantic import Field

from llama_serving.contract.frozen import Frozen


class DeclaredFile(Frozen):
    """A weight file that was declared."""

    name: str = Field(min_length=1, max_length=255)
    """Name in the model's folder."""
    size_bytes: int = Field(ge=0)


class DeclaredContents(Frozen):
    """What the model's folder has to hold before an engine starts. Checked by `llama_serving.contents`.

    Only what no fine-tuning and no quantization changes stands here.
    """

    declared_by: str = Field(min_length=1, max_length=128)
    """Who declares it, for messages: `LlamaModel acme-chat` or `the catalog's llama-3.1-8b`."""
    architectures: tuple[Annotated[str, Field(max_length=128)], ...] = Field(default=(), max_length=8)
    """Class names that `architectures` of config.json may have; empty if none was declared."""
    model_types: tuple[Annotated[str, Field(max_length=128)], ...] = Field(default=(), max_length=8)
    """The same for `model_type`."""
    sizes: dict[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(default_factory=dict, max_length=16)
    """Fields of config.json with the values that each may have."""
    vocab_size: int | None = Field(default=None, ge=1)
    """A vocabulary may have grown by some added tokens."""
    experts: int = Field(default=0, ge=0)
    """Routed experts of a layer; 0 for a dense model."""
    takes_images: bool = False
    """Whether a part for images may be there."""
    weight_bytes: int | None = Field(default=None, ge=1)
    """Bytes of all weight files together; None if nobody declared them."""
    files: tuple[DeclaredFile, ...] = Field(default=(), max_length=512)
    """All weight files; empty if nobody declared them."""
