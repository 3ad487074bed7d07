"""Calculates sizes from shapes: parameters, bytes of weights, KV cache per token.

Pure functions of an `Architecture`. The tests recompute every figure of the catalog with them. `catalog.additions` uses them
for LlamaModels without published sizes. A published size takes precedence over every result of this module: publishers
decide which layers they leave unquantized.
"""

from dataclasses import dataclass

from llama_operator.catalog.models import Architecture, Precision, VisionEncoder

INT4_GROUP = 128
"""Weights that share one 16-bit scale in AWQ, GPTQ and w4a16 checkpoints."""

_WIDE = 2
"""Bytes of a 16-bit weight."""

_PIXEL_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of parameters, grouped by what quantization does to them.

    Attributes:
        linear: Linear layers of the text blocks: attention projections and feed-forward weights, all experts.
            FP8, INT8 and INT4 checkpoints shrink these.
        embeddings: Input embedding and, unless tied, output layer.
        small: Norms, gates and routers.
        vision: Image encoder and projector.
    """

    linear: int
    embeddings: int
    small: int
    vision: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.linear + self.embeddings + self.small + self.vision


def parameters(architecture: Architecture) -> Parameters:
    """Count the parameters of a model.

    Source: the layer definitions of Hugging Face transformers (`modeling_llama`, `modeling_mllama`,
    `modeling_llama4`). The results equal the published counts of every model with confidence High.

    Args:
        architecture: Shape of the model.
    """
    h, layers = architecture.hidden_size, architecture.num_hidden_layers
    cross = architecture.cross_attention
    linear = layers * _attention(architecture) + _feed_forward(architecture)
    # Two norms per layer and the final one; a cross-attention layer also norms queries and keys and has two gates.
    small = layers * 2 * h + h + _routers(architecture)
    embeddings = architecture.vocab_size * h * (1 if architecture.tie_word_embeddings else 2)
    if cross is not None:
        small += cross.layers * (2 * architecture.head_dim + 2)
        embeddings += cross.extra_embeddings * h
    return Parameters(linear, embeddings, small, _vision(architecture))


def active_parameters(architecture: Architecture) -> int:
    """Return how many parameters of the language model one token passes: only the experts to which it is routed.

    The image encoder does not count.

    Args:
        architecture: Shape of the model.
    """
    counted = parameters(architecture)
    text = counted.total - counted.vision
    moe = architecture.moe
    if moe is None:
        return text
    idle = moe.experts - moe.experts_per_token
    return text - moe.moe_layers * idle * _gated_block(architecture.hidden_size, architecture.intermediate_size)


def weight_bytes(architecture: Architecture, precision: Precision) -> int:
    """Return the bytes of the weights if the linear layers of the text blocks have `precision` and the rest 16 bits.

    FP8 and INT8 take 1 byte a weight (the scales, below 0.1 %, do not count), INT4 half a byte and a 16-bit scale for each
    `INT4_GROUP`. Compared with published sizes: 70B w8a8 within 0.1 %. The result is too small for checkpoints that keep
    more layers in 16 bits: Meta's own FP8 of the 405B is 19 % larger.

    Args:
        architecture: Shape of the model.
        precision: Number format of the linear layers.
    """
    counted = parameters(architecture)
    rest = _WIDE * (counted.total - counted.linear)
    match precision:
        case "BF16" | "FP16":
            return rest + _WIDE * counted.linear
        case "FP8" | "INT8":
            return rest + counted.linear
        case "INT4":
            return rest + counted.linear // 2 + _WIDE * counted.linear // INT4_GROUP


def kv_bytes_per_token(architecture: Architecture, element_bytes: int = _WIDE) -> int:
    """Return the KV cache of one token in all self-attention layers, in bytes.

    2 (key and value) × layers × KV heads × head size × `element_bytes`. With chunked attention it is an upper bound:
    beyond a chunk only the cache of layers with full attention grows.

    Args:
        architecture: Shape of the model.
        element_bytes: Bytes of one element of the cache: 2, or 1 in FP8.
    """
    return architecture.self_attention_layers * kv_bytes_per_layer(architecture, 1, element_bytes)


def kv_bytes_per_layer(architecture: Architecture, tensor: int, element_bytes: int) -> int:
    """Return the KV cache of one token in one layer on one rank, in bytes.

    Beyond one KV head per rank the heads are replicated.

    Args:
        architecture: Shape of the model.
        tensor: Tensor parallel size.
        element_bytes: Bytes of one element of the cache.
    """
    return 2 * max(1, architecture.num_key_value_heads // tensor) * architecture.head_dim * element_bytes


def _attention(architecture: Architecture) -> int:
    query = architecture.hidden_size * architecture.num_attention_heads * architecture.head_dim
    key = architecture.hidden_size * architecture.num_key_value_heads * architecture.head_dim
    return 2 * query + 2 * key


def _gated_block(hidden: int, intermediate: int) -> int:
    return 3 * hidden * intermediate


def _feed_forward(architecture: Architecture) -> int:
    h, moe = architecture.hidden_size, architecture.moe
    if moe is None:
        return architecture.num_hidden_layers * _gated_block(h, architecture.intermediate_size)
    routed = moe.experts * _gated_block(h, architecture.intermediate_size)
    shared = _gated_block(h, moe.shared_intermediate_size)
    return moe.moe_layers * (routed + shared) + moe.dense_layers * _gated_block(h, moe.dense_intermediate_size)


def _routers(architecture: Architecture) -> int:
    moe = architecture.moe
    return 0 if moe is None else moe.moe_layers * moe.experts * architecture.hidden_size


def _vision(architecture: Architecture) -> int:
    vision = architecture.vision
    if vision is None:
        return 0
    if architecture.cross_attention is not None:
        return _mllama_vision(vision) + vision.output_size * architecture.hidden_size + architecture.hidden_size
    return _llama4_vision(vision) + vision.output_size * architecture.hidden_size


def _encoder_layer(vision: VisionEncoder, *, attention_bias: bool) -> int:
    width = vision.hidden_size
    attention = 4 * width * width + (4 * width if attention_bias else 0)
    block = 2 * width * vision.intermediate_size + vision.intermediate_size + width
    return attention + block + 4 * width


def _positions(vision: VisionEncoder) -> int:
    return (vision.image_size // vision.patch_size) ** 2 + 1


def _stem(vision: VisionEncoder) -> int:
    # Patch embedding, class token, one position table, the norms before and after the layers.
    width = vision.hidden_size
    patches = _PIXEL_CHANNELS * vision.patch_size**2 * width
    return patches + width + _positions(vision) * width + 4 * width


def _mllama_vision(vision: VisionEncoder) -> int:
    width, layouts = vision.hidden_size, vision.aspect_ratios + 1
    layers = (vision.layers + vision.global_layers) * _encoder_layer(vision, attention_bias=False)
    per_layout = vision.max_tiles * _positions(vision) * width + 2 * vision.max_tiles * width
    # Gates: two per global layer, one on each of the three tile position embeddings.
    return _stem(vision) + layers + layouts * per_layout + 2 * vision.global_layers + 3


def _llama4_vision(vision: VisionEncoder) -> int:
    layers = vision.layers * _encoder_layer(vision, attention_bias=True)
    adapter = vision.intermediate_size * vision.adapter_size + vision.adapter_size * vision.output_size
    return _stem(vision) + layers + adapter
