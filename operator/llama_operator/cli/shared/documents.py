"""Reads YAML and JSON as the API server would: plain data, and every key once. Called by every verb that takes a file."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from llama_operator.errors import FieldProblem, InvalidManifestError

SUFFIXES = (".json", ".yaml", ".yml")
"""Which files of a folder are read; a file that is named itself may have any name."""

_SIZE_LIMIT = 3 * 1024 * 1024
"""The API server's own limit of a request, in bytes."""

_DEEPEST = 200
"""Levels of mappings and lists in one another; an object of Kubernetes has a few dozen."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # the C loader where PyYAML has it: ten times faster
    """Safe loader with the scalars of Kubernetes: dates and times such as 12:30 stay strings."""


_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]*|[1-9][0-9_]*)$"),
    "tag:yaml.org,2002:float": re.compile(
        r"([-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
}
"""Numbers without the sexagesimal ones of YAML 1.1, of which Kubernetes knows nothing: 12:30:00 would be 45000."""
_Loader.yaml_implicit_resolvers = {
    first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


def files_of(paths: list[str]) -> tuple[str, ...]:
    """Put the files of a folder in place of it, in the order of their names, as `kubectl apply -f FOLDER` does.

    Raises:
        InvalidManifestError: If a path is a URL, or a folder without a file that kubectl would read.
    """
    return tuple(file for path in paths for file in _files(path))


def documents(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of one file, as JSON; those of a `List` one by one, as `kubectl get -o yaml` writes it.

    Raises:
        InvalidManifestError: If it cannot be read or holds something else.
    """
    path = str(path)
    for number, document in enumerate(loaded(path, limit=_SIZE_LIMIT), start=1):
        if document is None:
            continue
        for place, obj in _unpacked(f"(document {number})", document):
            if not isinstance(obj, dict):
                raise _problem(path, f"is {type_name(obj)}", "must be a Kubernetes object", at=place)
            yield obj


def loaded(path: str, *, limit: int) -> list[Any]:
    """Read every document of a file of YAML or JSON.

    Args:
        path: The file; `-` is standard input.
        limit: Most characters that it may have.

    Raises:
        InvalidManifestError: If it cannot be read, is neither, has aliases, or has a key twice.
    """
    content = _text(path)
    if len(content) > limit:
        raise _problem(path, f"is larger than {limit:,} characters", "split it")
    try:
        if content.lstrip()[:1] in {"{", "["} and (values := _json_documents(content)) is not None:
            return values
        return _yaml_documents(path, content)
    except RecursionError as error:
        raise _problem(path, "is nested too deeply") from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).replace('in "<unicode string>", ', "in ").split())
        hint = "indent with spaces, not with tabs" if re.search(r"^ *\t", content, re.MULTILINE) else ""
        raise _problem(path, f"is not YAML: {problem}", hint) from error


def type_name(value: Any) -> str:
    """Name a type of JSON with its article, for people."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", type(None): "empty"}
    return names.get(type(value), "a mapping")


def _files(path: str) -> list[str]:
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", path):
        hint = f"download it first: curl -fsSL {path} | kubectl llama ... -f -"
        raise _problem(path, "is a URL; only files and folders are read", hint)
    if path == "-" or not Path(path).is_dir():
        return [path]
    try:
        names = sorted(entry for entry in Path(path).iterdir() if entry.suffix in SUFFIXES and not entry.is_dir())
    except OSError as error:
        raise _problem(path, f"cannot be read: {error.strerror}") from error
    if not names:
        problem = f"is a folder without a file that ends in {', '.join(SUFFIXES)}"
        raise _problem(path, problem, "folders in it are not read: name them too")
    return [str(name) for name in names]


def _text(path: str) -> str:
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise _problem(path, f"cannot be read: {error.strerror}") from error
    # The redirect of Windows PowerShell writes UTF-16; editors on Windows write a mark before UTF-8.
    encoding = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise _problem(path, "is not text in UTF-8", "save it as UTF-8, if it is a manifest")
    return text


def _json_documents(content: str) -> list[Any] | None:
    """Read JSON values, one after the other as `jq` writes them; None for anything else.

    Ten times as fast as YAML, of which JSON is a part. What is wrong with it is left to the reader of YAML, which knows
    the lines.
    """
    decoder, values, place = json.JSONDecoder(object_pairs_hook=_once), [], 0
    try:
        while start := re.compile(r"\S").search(content, place):
            value, place = decoder.raw_decode(content, start.start())
            values.append(value)
    except ValueError:
        return None
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values


def _yaml_documents(path: str, content: str) -> list[Any]:
    _refuse_bombs(path, content)
    loader, values = _Loader(content), []
    try:
        repeated: list[FieldProblem] = []
        while loader.check_node():
            node = loader.get_node()
            repeated += _repeated_keys(node, "")
            if not repeated:
                values.append(loader.construct_document(node))
    finally:
        loader.dispose()
    if repeated:
        raise InvalidManifestError(_subject(path), repeated)
    return values


def _refuse_bombs(path: str, content: str) -> None:
    """Refuse what a few bytes can blow up: aliases become gigabytes once expanded, and depth overflows the C stack."""
    depth = 0
    for event in yaml.parse(content, Loader=_Base):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            problem = f"alias *{event.anchor} in line {_line(event)} is not allowed"
            raise _problem(path, problem, "write out what it stands for")
        if depth > _DEEPEST:
            raise RecursionError


def _line(part: yaml.Node | yaml.Event) -> int:
    return part.start_mark.line + 1 if part.start_mark is not None else 0


def _repeated_keys(node: yaml.Node, path: str) -> Iterator[FieldProblem]:
    """Keys that stand twice in one mapping: the API server refuses them, YAML readers keep the last."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated_keys(item, f"{path}[{index}]")
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), _line(key)
            place = f"{path}.{name}" if path else name
            if name in lines:
                yield FieldProblem(place, f"stands twice, in lines {lines[name]} and {line}", "leave one of them out")
            lines[name] = line
            yield from _repeated_keys(value, place)


def _unpacked(place: str, document: Any) -> Iterator[tuple[str, Any]]:
    is_list = isinstance(document, dict) and str(document.get("kind")).endswith("List")
    items = document.get("items") if is_list else None
    if isinstance(items, list):
        yield from ((f"{place}.items[{index}]", item) for index, item in enumerate(items))
    else:
        yield place, document


def _problem(path: str, problem: str, allowed: str = "", *, at: str = "(file)") -> InvalidManifestError:
    return InvalidManifestError.of(_subject(path), at, problem, allowed)


def _subject(path: str) -> str:
    return "standard input" if path == "-" else path
