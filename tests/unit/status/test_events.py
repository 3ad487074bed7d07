"""Notes of events keep the server's limit, which counts bytes."""

import pytest

from llama_operator.decide.observed import RepairFacts
from llama_operator.status.events import orphan_events, repair_events


@pytest.mark.parametrize("letter", ["a", "é", "機", "🦙"])
def test_a_note_has_at_most_1024_bytes_and_no_half_letter(letter):
    (event,) = orphan_events(letter * 2000, cut=True, removed=False)
    assert 1020 < len(event.note.encode()) <= 1024
    assert set(event.note) == {letter}


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        (RepairFacts("Service", "chat", ()), "Service chat was deleted, and is made again"),
        (
            RepairFacts("Service", "chat", ("spec.selector",), "kubectl-edit"),
            "Service chat was changed (spec.selector) by kubectl-edit, and is set right",
        ),
        (
            RepairFacts("RayService", "chat-1", ("metadata.labels", "spec.x")),
            "RayService chat-1 was changed (metadata.labels, spec.x), and is set right",
        ),
    ],
)
def test_a_repair_says_what_was_done_and_by_whom(facts, note):
    assert [event.note for event in repair_events([facts])] == [note]
