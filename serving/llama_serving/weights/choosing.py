"""Which files of a source belong to a copy, and what is never copied. Pure; called by `weights.fetching`.

Weights are safetensors only: a pickle can run code of its maker when it is read. Code of the maker is not copied either, and a
model that asks for it (`auto_map`) is refused, because it would not load without.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Final

from llama_serving.contents.json_text import loaded
from llama_serving.contents.shape import differences
from llama_serving.contents.weights import INDEX, placed, shown, without_tokenizer
from llama_serving.contract.contents import DeclaredContents
from llama_serving.contract.hub import ADAPTER_FILE, CHECKPOINT_FILE
from llama_serving.contract.weights import MANIFEST, CopyOutcome, CopyRequest
from llama_serving.licenses.files import kind_of
from llama_serving.weights.errors import CopyError
from llama_serving.weights.sources.base import Entry

MOST_JSON_BYTES: Final = 64 * 1024**2
"""Largest JSON file that is looked into."""
MOST_FILES: Final = 4096
_MOST_DIFFERENCES: Final = 3
_LICENSE: Final = "LICENSE"
_WEIGHTS: Final = ".safetensors"
_PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_BESIDE: Final = (
    "*.json",
    "tokenizer*",
    "*.model",
    "*.tiktoken",
    "*.jinja",
    "merges.txt",
    "vocab.txt",
    "LICEN[SC]E*",
    "USE_POLICY*",
    "NOTICE*",
    "README.md",
)
"""Files at the top that are wanted beside the weights."""
_NEVER: Final = re.compile(
    r".*\.(py|pyc|so|sh|zip|tar|gz|bin|pt|pth|pkl|ckpt|gguf|onnx|h5|msgpack)", flags=re.IGNORECASE
)
_TEMPLATES: Final = "additional_chat_templates"


def beside(entries: Sequence[Entry], asked: Iterable[str]) -> list[Entry]:
    """The files of a copy beside its weights.

    Args:
        entries: All files of the source.
        asked: Files that the request names.

    Raises:
        CopyError: If the source has no model in safetensors with its tokenizer, or lacks a file that is asked for.
    """
    by_path = {entry.path: entry for entry in entries}
    for path in asked:
        if path not in by_path:
            raise CopyError(
                CopyOutcome.NOT_FOUND, "the source does not have this file, which the license asks for", path
            )
    for path in by_path:
        _check_path(path)
    if CHECKPOINT_FILE not in by_path and ADAPTER_FILE not in by_path:
        raise CopyError(CopyOutcome.NOT_FOUND, f"the source has no {CHECKPOINT_FILE}, without which no engine loads it")
    if not any(_is_weight(path) for path in by_path):
        raise _without_weights(by_path)
    if CHECKPOINT_FILE in by_path and (missing := without_tokenizer(by_path)) is not None:
        raise CopyError(CopyOutcome.NOT_FOUND, missing)
    chosen = [entry for path, entry in by_path.items() if path in set(asked) or _is_beside(path)]
    if len(chosen) > MOST_FILES:
        raise CopyError(CopyOutcome.FAILED, f"the source has more than {MOST_FILES} files beside its weights")
    return chosen


def weights(entries: Sequence[Entry], index: bytes | None) -> list[Entry]:
    """The weight files of a copy: those that the index names, or all at the top.

    Raises:
        CopyError: If the index names one that is not there.
    """
    here = {entry.path: entry for entry in entries if _is_weight(entry.path)}
    if index is None:
        return list(here.values())
    places = placed(parsed(index))
    if places is None:
        raise CopyError(CopyOutcome.MISMATCH, "it has no weight_map that names files", INDEX)
    named = sorted(set(places.values()))
    if missing := [name for name in named if name not in here]:
        raise CopyError(
            CopyOutcome.NOT_FOUND, f"{INDEX} names {shown(missing)}, which the source does not have", missing[0][:512]
        )
    return [here[name] for name in named]


def parsed(content: bytes) -> Any:
    """The content of a JSON file; None if it is none."""
    try:
        return loaded(content)
    except (ValueError, RecursionError):
        return None


def check_code(path: str, content: bytes) -> None:
    """Refuse a model whose JSON files ask for code of its maker.

    Raises:
        CopyError: If `path`, with this content, does.
    """
    value = parsed(content)
    if value is None:
        raise CopyError(
            CopyOutcome.MISMATCH, "it is no JSON in UTF-8 without a byte order mark, as engines read it", path
        )
    if _asks_for_code(value):
        raise CopyError(
            CopyOutcome.FORBIDDEN,
            "it has an auto_map: the model needs code of its maker, which is never run. Take a copy of the model that "
            "loads without it, or remove the entry if the engine knows the architecture",
            path,
        )


def check_license(folder: Path, paths: Iterable[str], request: CopyRequest) -> None:
    """Refuse a source without a license text, where one is asked for.

    Args:
        folder: Where its files are.
        paths: Files at hand, below `folder`.
        request: What is copied.

    Raises:
        CopyError: If there is none that says something.
    """
    if not request.requires_license:
        return
    texts = (folder / path for path in paths if kind_of(path) == "License")
    if not any(path.is_file() and path.read_bytes().strip() for path in texts):
        words = (
            "the source has no license text (LICENSE*) at its top, and house policy asks for one: put it beside config.json, or have the "
            "platform owner change servedLicenseFiles of the LicensePolicy"
        )
        raise CopyError(CopyOutcome.NOT_FOUND, words, _LICENSE)


def check_shape(config: bytes, declared: DeclaredContents | None) -> None:
    """Refuse a model that is not the one that was declared: its engines would be planned, and licensed, for another one.

    Raises:
        CopyError: If `config`, the content of its config.json, is of another one.
    """
    if declared is None:
        return
    if wrong := differences(parsed(config), declared):
        words = f"it is not the model that {declared.declared_by} declares: {'; '.join(wrong[:_MOST_DIFFERENCES])}"
        raise CopyError(CopyOutcome.MISMATCH, words, CHECKPOINT_FILE)


def _asks_for_code(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return bool(value.get("auto_map")) or any(
        isinstance(part, Mapping) and bool(part.get("auto_map")) for part in value.values()
    )


def _is_weight(path: str) -> bool:
    return "/" not in path and path.endswith(_WEIGHTS)


def _is_beside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    # A manifest of the source's own would take the place of ours.
    if _NEVER.fullmatch(path) is not None or path == MANIFEST or path.startswith("."):
        return False
    if parts[0] == _TEMPLATES:
        return path.endswith(".jinja")
    return len(parts) == 1 and any(fnmatchcase(path, pattern) for pattern in _BESIDE)


def _check_path(path: str) -> None:
    parts = path.split("/")
    if not path.isprintable() or any(part in {"", ".", ".."} for part in parts) or len(path) > 512:  # noqa: PLR2004
        safe = "".join(character if character.isprintable() else "?" for character in path)[:200]
        raise CopyError(CopyOutcome.FORBIDDEN, "this name could lead out of the copy's folder", safe)


def _without_weights(by_path: Mapping[str, Entry]) -> CopyError:
    if pickles := sorted(path for path in by_path if path.lower().endswith(_PICKLES)):
        return CopyError(
            CopyOutcome.FORBIDDEN,
            f"it has pickled weights only ({shown(pickles)}). Reading a pickle can run code of its maker, so none is ever "
            "copied: take the model's safetensors",
            pickles[0],
        )
    return CopyError(CopyOutcome.NOT_FOUND, "the source has no weights (*.safetensors) at its top")
