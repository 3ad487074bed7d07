"""Tokenizer files of the generated checkpoint: one token a byte, then the special tokens of Llama 3. Called by `checkpoint`.

A token's identifier below 256 is the byte itself, so a completion reads as the bytes that the model chose.
"""

from typing import Any, Final

_BYTES = 256
_NAMED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
_SPECIAL = (*_NAMED, *(f"<|reserved_special_token_{index}|>" for index in range(3, 3 + _BYTES - len(_NAMED))))

VOCABULARY_SIZE: Final = _BYTES + len(_SPECIAL)
BEGIN_OF_TEXT: Final = _BYTES + _SPECIAL.index("<|begin_of_text|>")
END_OF_TEXT: Final = _BYTES + _SPECIAL.index("<|end_of_text|>")
END_OF_TURN: Final = _BYTES + _SPECIAL.index("<|eot_id|>")

CHAT_TEMPLATE: Final = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n{{ message.content | trim }}<|eot_id|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def tokenizer() -> dict[str, Any]:
    """Build `tokenizer.json`: byte-level BPE without a single merge."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": _BYTES + index,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, content in enumerate(_SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": _SPECIAL[0], "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": _SPECIAL[0], "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": _SPECIAL[0], "type_id": 1}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {_SPECIAL[0]: {"id": _SPECIAL[0], "ids": [BEGIN_OF_TEXT], "tokens": [_SPECIAL[0]]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": {character: byte for byte, character in _visible_bytes().items()},
            "merges": [],
        },
    }


def tokenizer_config(max_length: int) -> dict[str, Any]:
    """Build `tokenizer_config.json`; `max_length` is in tokens."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": max_length,
        "chat_template": CHAT_TEMPLATE,
    }


def _visible_bytes() -> dict[int, str]:
    """Map every byte to the character that stands for it in byte-level BPE (the convention of GPT-2).

    Printable bytes stand for themselves; the others get the code points from 256 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = (byte for byte in range(_BYTES) if byte not in printable)
    stand_ins = {byte: chr(_BYTES + index) for index, byte in enumerate(hidden)}
    return {byte: stand_ins.get(byte, chr(byte)) for byte in range(_BYTES)}
