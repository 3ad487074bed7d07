"""JSON patches (RFC 6902) for the port: what a server does with one, and which operation it was that failed.

Pure. Called by `twin.cluster`, which applies them, and by `server.client`, whose server does not say which one failed.
"""

from collections.abc import Sequence
from typing import Any

import jsonpatch
import jsonpointer

from llama_operator.kube.port import ConflictError, InvalidError, JsonPatch, Object


def segment(name: str) -> str:
    """Return the name of a field as it stands in the path of an operation (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def encode(operations: Sequence[JsonPatch]) -> list[dict[str, Any]]:
    """Render operations as JSON."""
    return [
        {"op": operation.op, "path": operation.path} | ({"value": operation.value} if operation.op != "remove" else {})
        for operation in operations
    ]


def apply(obj: Object, operations: Sequence[JsonPatch], what: str) -> Object:
    """Return a changed copy of `obj`.

    Args:
        obj: A JSON object; not changed.
        operations: All are done, or none.
        what: What is patched, for messages.

    Raises:
        ConflictError: If a `test` does not hold.
        InvalidError: If a path does not exist, or is none.
    """
    patched = obj
    for operation, encoded in zip(operations, encode(operations), strict=True):
        try:
            if operation.op == "replace" and _is_member(patched, operation.path):
                # A server's library replaces also the field of an object that is not there.
                encoded["op"] = "add"
            patched = jsonpatch.apply_patch(patched, [encoded])
        except jsonpatch.JsonPatchTestFailed as error:
            raise ConflictError(
                f"{what}: {operation.path} is not {operation.value!r} any more; read it again"
            ) from error
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
            raise InvalidError(
                f"{what}: cannot {operation.op} {operation.path}: there is no such place; read the object again"
            ) from error
    if not isinstance(patched, dict):
        raise InvalidError(f"{what}: a patch must leave an object, not {patched!r}")
    return patched


def _is_member(obj: Object, path: str) -> bool:
    parts = jsonpointer.JsonPointer(path).parts
    return bool(parts) and isinstance(jsonpointer.JsonPointer.from_parts(parts[:-1]).resolve(obj), dict)
