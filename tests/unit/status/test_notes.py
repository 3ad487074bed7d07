"""The note of an event fits: Kubernetes counts its bytes."""

import pytest

from llama_operator.status.events import orphan_events


@pytest.mark.parametrize("letter", ["x", "é", "本", "🦙"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_note_has_at_most_1024_bytes_and_no_half_letter(letter, before):
    notes = [event.note for event in orphan_events(before + letter * 1024, cut=True, removed=True)]
    assert len(notes) == 2
    assert all(len(note.encode()) <= 1024 for note in notes)
    size = len(letter.encode())
    assert all(note.startswith(before + letter * (250 // size)) for note in notes)
    ends = ("without --cascade=orphan", "its LlamaDeployment is gone")
    assert all(note.endswith(end) for note, end in zip(notes, ends, strict=True))
