"""Judges the list of a model's files: are all weights there, of the declared size, and no pickles? Pure.

Called by `contents.check`. A pickle can run code of its maker when it is read, so weights are read from safetensors only.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from llama_serving.contract.contents import DeclaredContents

INDEX: Final = "model.safetensors.index.json"
"""Says which file has which weight."""

_SAFETENSORS: Final = ".safetensors"
_PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_OF_TRAINING: Final = re.compile(r"(training_args|optimizer|scheduler|rng_state|trainer_state).*")
_ADAPTER: Final = "adapter_model.safetensors"
_SHARD: Final = re.compile(r"(.*)-(\d{1,6})-of-(\d{1,6})\.safetensors")
_TOKENIZERS: Final = ("tokenizer.json", "tekken.json", "vocab.json", "vocab.txt", "*.model", "*.tiktoken")
"""Files of which each makes a tokenizer; tokenizer_config.json alone makes none."""
_SHOWN: Final = 3


def faults(
    sizes: Mapping[str, int], index: Any, declared: DeclaredContents, *, reads_all: bool = False
) -> Iterator[str]:
    """Say what is wrong with the files at the top of a model's folder.

    Args:
        sizes: Bytes of every file, by its name.
        index: Content of the file `INDEX` as JSON; None if there is none.
        declared: Which sizes were declared.
        reads_all: Whether the engine reads every safetensors file, in the index or not, as the Run:ai streamer does.
    """
    here = sorted(name for name in sizes if name.endswith(_SAFETENSORS) and name != _ADAPTER)
    if not here:
        yield _without_safetensors(sizes)
        return
    if index is None:
        yield from _unindexed(here)
    else:
        named = _named(index)
        if named is None:
            yield f"{INDEX} has no weight_map that names files"
            return
        if missing := sorted(named - set(here)):
            yield (
                f"{INDEX} names {shown(missing)}, which {'is' if len(missing) == 1 else 'are'} not there (finish the upload, "
                "or remove an index that is left over)"
            )
        if reads_all and (more := sorted(set(here) - named)):
            yield f"{shown(more)} is not in {INDEX}, and loadFormat RunaiStreamer would read it too: remove it"
    yield from _not_as_declared(sizes, here if reads_all else read_by_engine(here, index), declared)


def without_tokenizer(names: Iterable[str]) -> str | None:
    """Say that the files at the top of a model's folder have no tokenizer; None if they have one.

    An engine asks for it when it has its GPUs, and then looks at the Hub for a model of the folder's name.
    """
    if any(fnmatchcase(name, pattern) for name in names for pattern in _TOKENIZERS):
        return None
    return (
        "it has no tokenizer (tokenizer.json, or tokenizer.model), without which no engine starts: put that of the base model "
        "beside config.json, unless training changed it (save_pretrained of the tokenizer writes it)"
    )


def placed(index: Any) -> dict[str, str] | None:
    """The file of every tensor, as an index tells it; None if it is none."""
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        return None
    return names


def read_by_engine(names: list[str], index: Any) -> list[str]:
    """The weight files that the engine reads: those that the index names, where there is one."""
    named = None if index is None else _named(index)
    return sorted(set(names) & named) if named else names


def _without_safetensors(sizes: Mapping[str, int]) -> str:
    pickles = sorted(n for n in sizes if n.lower().endswith(_PICKLES) and _OF_TRAINING.fullmatch(n) is None)
    if pickles:
        return (
            f"it has pickled weights only ({shown(pickles)}). Reading a pickle can run code of its maker, so none is ever "
            "read: convert them to safetensors (save_pretrained of transformers writes them)"
        )
    if ggufs := sorted(name for name in sizes if name.lower().endswith(".gguf")):
        return f"it has GGUF files only ({shown(ggufs)}), which this engine does not read: take the safetensors of the model"
    if _ADAPTER in sizes:
        return f"it has an adapter only ({_ADAPTER}): serve it with its base model (spec.adapters), or merge it into it"
    return "it has no weights (*.safetensors) at its top"


def _unindexed(here: list[str]) -> Iterator[str]:
    """Shards tell by their names how many there are."""
    sets: dict[tuple[str, int], set[int]] = {}
    for name in here:
        if (shard := _SHARD.fullmatch(name)) is not None:
            sets.setdefault((shard[1], int(shard[3])), set()).add(int(shard[2]))
    single = [name for name in here if _SHARD.fullmatch(name) is None]
    if len(sets) > 1 or (sets and single):
        each = ", ".join([*(f"{stem}-*-of-{total}" for stem, total in sorted(sets)), *single[:_SHOWN]])
        yield f"it has the files of several checkpoints ({each}) and no {INDEX} that says which count"
        return
    for (stem, total), numbers in sets.items():
        if missing := total - len(numbers):
            yield f"{missing} of {total} shards ({stem}-*-of-{total:05d}.safetensors) are not there"


def _named(index: Any) -> set[str] | None:
    files = placed(index)
    return None if files is None else set(files.values())


def _not_as_declared(sizes: Mapping[str, int], read: list[str], declared: DeclaredContents) -> Iterator[str]:
    files = {file.name: file.size_bytes for file in declared.files}
    if files:
        for name in sorted(files.keys() | set(read)):
            if files.get(name) != sizes.get(name):
                yield f"{name} has {_bytes(sizes.get(name))}, declared {_bytes(files.get(name))}"
    elif declared.weight_bytes is not None:
        total = sum(sizes[name] for name in read)
        # Headers of the files, which an index does not count.
        if abs(total - declared.weight_bytes) > max(declared.weight_bytes // 100, 1024**2):
            yield f"its weight files have {total} bytes together, declared sizeBytes {declared.weight_bytes}"


def _bytes(size: int | None) -> str:
    return "no such file" if size is None else f"{size} bytes"


def shown(names: list[str]) -> str:
    """The first of `names`, as a condition can hold them."""
    first = ", ".join(name[:96] for name in names[:_SHOWN])
    # A name may hold anything that a file system takes.
    safe = "".join(character if character.isprintable() else "?" for character in first)
    return safe if len(names) <= _SHOWN else f"{safe} and {len(names) - _SHOWN} more"
