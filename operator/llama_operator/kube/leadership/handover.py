"""What one holder of the Lease leaves to the next, a short text in an annotation of the Lease, and notes for people.

`lease` reads it when it takes the Lease, and writes it with every renewal and in `hand_over`; the log of evidence is what leaves
a text. It needs no right beyond those of the election, and no request beyond its own while nothing changes.
"""

from typing import Any

from llama_operator.kube.port import JsonPatch, Object


class Handover:
    """The text of one annotation.

    Args:
        annotation: Its name.
    """

    def __init__(self, annotation: str) -> None:
        self._annotation = annotation
        self.received = ""
        """The text of the holder before; known once the Lease is held."""
        self._left = ""
        self._notes: dict[str, str] = {}
        self._asked = 0
        self._kept = 0

    def note(self, annotation: str, text: str) -> None:
        """Leave `text` in another annotation with the next write, whenever that is."""
        self._notes[annotation] = text

    def leave(self, text: str) -> int:
        """Leave `text` with the next write; returns the number to ask `kept` with."""
        self._left = text
        self._asked += 1
        return self._asked

    def kept(self, number: int) -> bool:
        """Whether the Lease certainly has the text of `number`, or a later one."""
        return self._kept >= number

    def to_write(self) -> tuple[str, int]:
        """The text of the next write, empty to keep what is there, and the number to give to `wrote` after it."""
        return self._left, self._asked

    def wrote(self, number: int) -> None:
        """Note that the Lease has the text that `to_write` returned with `number`."""
        self._kept = max(self._kept, number)

    def read(self, live: Object) -> None:
        """Take the text of the Lease `live`, before it becomes ours."""
        self.received = str((live["metadata"].get("annotations") or {}).get(self._annotation, ""))

    def patch(self, live: Object, text: str) -> tuple[JsonPatch, ...]:
        """Operations that leave `text` and the notes in the Lease `live`; none if they are there already, or empty."""
        annotations: dict[str, Any] = live["metadata"].get("annotations") or {}
        wanted = {name: value for name, value in {**self._notes, self._annotation: text}.items() if value}
        changed = {name: value for name, value in wanted.items() if annotations.get(name) != value}
        if changed and not annotations:
            return (JsonPatch("add", "/metadata/annotations", changed),)
        return tuple(
            JsonPatch("add", f"/metadata/annotations/{name.replace('~', '~0').replace('/', '~1')}", value)
            for name, value in changed.items()
        )
