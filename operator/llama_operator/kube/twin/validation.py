"""Rules that an API server has for objects of every kind: names, labels, owners, plain JSON.

Pure. `twin.cluster` calls it before a write. Schemas of kinds are not checked here: `api` does that for ours.
Rules: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llama_operator.kube.port import InvalidError, Kind, Object
from llama_operator.kube.twin import schemas

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_LABEL_LENGTH = 63
_NAME_LENGTH = 253
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid")


def check_address(kind: Kind, metadata: Mapping[str, Any]) -> None:
    """Check `metadata.name` and `metadata.namespace`.

    Raises:
        InvalidError: With the field, and what is right.
    """
    name, namespace = metadata.get("name"), metadata.get("namespace")
    short = schemas.schema(kind).short_name
    pattern, longest = (_LABEL, _LABEL_LENGTH) if short else (_SUBDOMAIN, _NAME_LENGTH)
    if not isinstance(name, str) or not pattern.fullmatch(name) or len(name) > longest:
        shape = "no dots" if short else "dots between"
        raise InvalidError(
            f"metadata.name: {name!r} is not a name for a {kind.kind}: use at most {longest} lower case letters,"
            f" digits and `-`, {shape}, with a letter or digit at both ends"
        )
    if not kind.namespaced:
        if namespace:
            raise InvalidError(f"metadata.namespace: a {kind.kind} has none; leave {namespace!r} out")
    elif not isinstance(namespace, str) or not _LABEL.fullmatch(namespace) or len(namespace) > _LABEL_LENGTH:
        raise InvalidError(f"metadata.namespace: {namespace!r} is not the name of a namespace; a {kind.kind} needs one")


def check_content(content: Object) -> None:
    """Check what an apply sends: JSON without null, and well-formed metadata.

    Raises:
        InvalidError: With the first field that is wrong.
    """
    # Nearly every object is good: names of paths are made only for one that is not.
    for path, value in () if _is_json(content) else _leaves(content, ""):
        if value is None:
            raise InvalidError(f"{path}: null; leave the field out, which removes it if it was sent before")
        if not isinstance(value, str | int | float | bool):
            raise InvalidError(f"{path}: {type(value).__name__} is not JSON; convert it first")
    check_metadata(content.get("metadata", {}))


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Check labels, names of annotations and finalizers, and owners.

    Raises:
        InvalidError: With the first field that is wrong.
    """
    for table in ("labels", "annotations"):
        for name, value in metadata.get(table, {}).items():
            _check_qualified(f"metadata.{table}", name)
            if not isinstance(value, str):
                raise InvalidError(f"metadata.{table}[{name}]: {value!r} is not a string; quote it")
    for name, value in metadata.get("labels", {}).items():
        if value and (len(value) > _LABEL_LENGTH or not _QUALIFIED.fullmatch(value)):
            raise InvalidError(
                f"metadata.labels[{name}]: {value!r} is not a label value: use at most {_LABEL_LENGTH} letters, digits,"
                " `-`, `_` and `.`, with a letter or digit at both ends"
            )
    for name in metadata.get("finalizers", ()):
        _check_qualified("metadata.finalizers", name)
    for owner in metadata.get("ownerReferences", ()):
        missing = [name for name in _OWNER_FIELDS if not owner.get(name)]
        if missing:
            raise InvalidError(f"metadata.ownerReferences: an entry lacks {', '.join(missing)}; set all of them")


def check_owners(metadata: Mapping[str, Any]) -> None:
    """Check the owners of an object after a write, whoever wrote them.

    Raises:
        InvalidError: If more than one is its controller.
    """
    if sum(bool(owner.get("controller")) for owner in metadata.get("ownerReferences", ())) > 1:
        raise InvalidError("metadata.ownerReferences: only one owner may have `controller: true`")


def _check_qualified(where: str, key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    prefixed = not slash or (len(prefix) <= _NAME_LENGTH and _SUBDOMAIN.fullmatch(prefix))
    if not prefixed or len(name) > _LABEL_LENGTH or not _QUALIFIED.fullmatch(name):
        raise InvalidError(
            f"{where}: {key!r} is not a qualified name; use `name` or `domain/name`, the name at most {_LABEL_LENGTH}"
            " letters, digits, `-`, `_` and `.`"
        )


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        for name, child in value.items():
            if not (isinstance(name, str) and (isinstance(child, str) or _is_json(child))):
                return False
        return True
    if isinstance(value, list):
        return all(map(_is_json, value))
    return isinstance(value, str | int | float)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, child in value.items():
            if not isinstance(name, str):
                raise InvalidError(f"{path or 'object'}: the field name {name!r} is not a string")
            yield from _leaves(child, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _leaves(child, f"{path}[{index}]")
    else:
        yield path, value
