"""The ConfigMap or Secret with the keys as JSON: its entries, and the patches that change some of them. Pure; called by `store`.

A patch names the entries that it changes and no others, so two people who change keys at once do not undo each other.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from llama_operator.api import readings
from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.kube.json_patch import segment
from llama_operator.kube.port import JsonPatch, Object, Ref
from llama_operator.kube.secret_kind import SECRET
from llama_serving.contract.keys import MOST_ENTRY_BYTES, KeyEntry, is_key_id

MOST_BYTES: Final = 1024 * 1024
"""Kubernetes' own limit of the values of a ConfigMap or Secret."""
_TIMES: Final = ("expires", "created")


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry of the object.

    Attributes:
        id: Its name: the id of the key.
        entry: What is kept of the key; None if it cannot be read.
        problem: Why it cannot be read; never has a part of the value.
        raw: The value as the object has it.
    """

    id: str
    entry: KeyEntry | None
    problem: str
    raw: str


@dataclass(frozen=True, slots=True)
class KeyObject:
    """The object as it was read.

    Attributes:
        ref: Its address.
        live: The object; None if there is none.
    """

    ref: Ref
    live: Object | None

    @property
    def kept(self) -> tuple[Kept, ...]:
        """All entries, by id."""
        return tuple(_read(name, value, encoded=_encoded(self.ref)) for name, value in sorted(self._data.items()))

    @property
    def immutable(self) -> bool:
        """Whether Kubernetes refuses every change of it."""
        return self.live is not None and self.live.get("immutable") is True

    def bytes_with(self, entries: Iterable[KeyEntry]) -> int:
        """Bytes of the values, with `entries` added."""
        texts = (value for value in self._data.values() if isinstance(value, str))
        # Three bytes are four characters in base64.
        held = sum(
            len(value) * 3 // 4 if _encoded(self.ref) else len(value.encode(errors="replace")) for value in texts
        )
        held += sum(len(str(value)) for value in readings.mapping((self.live or {}).get("binaryData")).values())
        return held + sum(len(_json(entry)) for entry in entries)

    @staticmethod
    def fits(entry: KeyEntry) -> bool:
        """Whether the entry is as short as one must be."""
        return len(_json(entry)) <= MOST_ENTRY_BYTES

    def adding(self, entries: Mapping[str, KeyEntry]) -> tuple[JsonPatch, ...]:
        """The patch that adds `entries`."""
        values = {key_id: _value(entry, encoded=_encoded(self.ref)) for key_id, entry in entries.items()}
        if self._data:
            return tuple(JsonPatch("add", _place(key_id), value) for key_id, value in values.items())
        # There is no place to add to. One is made, but only in the object as it was read: another one may make it too.
        version = (self.live or {}).get("metadata", {}).get("resourceVersion")
        return JsonPatch("test", "/metadata/resourceVersion", version), JsonPatch("add", "/data", values)

    def replacing(self, old: Kept, entry: KeyEntry) -> tuple[JsonPatch, ...]:
        """The patch that puts `entry` in place of `old`, if that is still there as it was read."""
        place, value = _place(old.id), _value(entry, encoded=_encoded(self.ref))
        return JsonPatch("test", place, old.raw), JsonPatch("replace", place, value)

    @staticmethod
    def removing(ids: Iterable[str]) -> tuple[JsonPatch, ...]:
        """The patch that removes entries."""
        return tuple(JsonPatch("remove", _place(key_id)) for key_id in ids)

    @property
    def _data(self) -> Mapping[str, object]:
        return readings.mapping((self.live or {}).get("data"))


def blank(ref: Ref, deployment: str) -> Object:
    """A ConfigMap without keys.

    It has no owner: keys stay when a deployment is deleted and made again, because nobody can show a client its key twice.
    """
    labels = {
        "app.kubernetes.io/name": "llama",
        "app.kubernetes.io/component": "api-keys",
        "app.kubernetes.io/managed-by": "kubectl-llama",
        LABEL_DEPLOYMENT: deployment,
    }
    metadata = {"name": ref.name, "namespace": ref.namespace, "labels": labels}
    return {"apiVersion": ref.kind.api_version, "kind": ref.kind.kind, "metadata": metadata}


def _encoded(ref: Ref) -> bool:
    return ref.kind == SECRET


def _place(key_id: str) -> str:
    return f"/data/{segment(key_id)}"


def _json(entry: KeyEntry) -> bytes:
    return entry.model_dump_json(exclude_defaults=True).encode()


def _value(entry: KeyEntry, *, encoded: bool) -> str:
    written = _json(entry)
    return base64.b64encode(written).decode() if encoded else written.decode()


def _read(name: str, value: object, *, encoded: bool) -> Kept:
    raw = readings.text(value)
    if not is_key_id(name):
        return Kept(name, None, "its name is no id of a key", raw)
    try:
        written = base64.b64decode(raw, validate=True) if encoded else raw.encode()
        if len(written) > MOST_ENTRY_BYTES:
            return Kept(name, None, f"it has more than {MOST_ENTRY_BYTES} bytes", raw)
        entry = KeyEntry.model_validate_json(written)
        times = {field: moment.astimezone(UTC) for field in _TIMES if (moment := getattr(entry, field)) is not None}
    except ValidationError as error:
        return Kept(name, None, "; ".join(map(_problem, error.errors(include_input=False))), raw)
    except (ValueError, OverflowError):
        return Kept(name, None, "it cannot be decoded", raw)
    return Kept(name, entry.model_copy(update=times), "", raw)


def _problem(error: ErrorDetails) -> str:
    """What is wrong, without a part of the value: somebody may have put a whole key there."""
    field = error["loc"][0] if error["loc"] else ""
    return f"{field}: {error['msg']}" if field in KeyEntry.model_fields else error["msg"]
