"""The hash chain: whatever is done to recorded lines is seen."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_operator.evidence import chain
from llama_operator.evidence.verify import is_record, split, verify


def write(terms, *, handed_over=0):
    """Lines of some terms, given by the number of their decisions.

    Args:
        terms: Decisions of each term.
        handed_over: How many of the last lines of each term the next one does not know of.
    """
    lines, previous = [], chain.GENESIS
    for number, decisions in enumerate(terms):
        position = chain.Position(f"operator-{number}/{number}", previous=previous)
        contents = [{"event": "TermStarted", "time": "2026-03-02T09:30:00Z", "operator": "0.1.0"}]
        contents += [
            {
                "event": "Decided",
                "time": f"2026-03-02T09:30:{index % 60:02}Z",
                "deployment": {"namespace": "team-a", "name": f"chat-{index}", "uid": "u-1", "generation": index},
                "decision": "Deny",
                "rules": [{"rule": "P1", "check": "acceptance-named", "outcome": "Refused"}],
                "families": ["llama-3.3"],
                "requester": {"user": "Zoë <zoe@acme.example>", "manager": "kubectl"},
            }
            for index in range(decisions)
        ]
        heads = [previous]
        for content in contents:
            line, position = chain.seal(content, position)
            lines.append(line)
            heads.append(position.previous)
        previous = heads[-1 - handed_over]
    return lines


SMALL = b"".join(write([2, 1]))
LARGE = write([40, 0, 25])


def problems(lines, **options):
    return [(found.line, found.problem) for found in verify(lines, **options).findings]


def test_what_was_written_holds():
    found = verify(LARGE)
    assert found.intact
    assert (found.lines, found.records, found.terms) == (68, 68, 3)
    assert found.head == json.loads(LARGE[-1])["hash"]
    assert found.notes == ()


def test_lines_are_one_json_object_each_in_ascii_and_found_by_their_mark():
    for line in LARGE:
        record = json.loads(line.decode("ascii"))
        assert record["evidence"] == "llama-operator.io/license-evidence/v1"
        assert b'"evidence":"llama-operator.io/license-evidence/v1"' in line


def test_a_hash_can_be_recomputed_by_hand():
    line, position = chain.seal({"event": "TermStarted", "user": "Zoë"}, chain.Position("a/1"))
    assert line == (
        b'{"event":"TermStarted","evidence":"llama-operator.io/license-evidence/v1",'
        b'"hash":"' + position.previous.encode() + b'",'
        b'"previous":"0000000000000000000000000000000000000000000000000000000000000000",'
        b'"sequence":0,"term":"a/1","user":"Zo\\u00eb"}\n'
    )
    assert position.previous == "c400093a7d82c5b6253356339ef51cdc43cd42d8b6c521ea027768726bbaa5c2"


def test_every_bit_of_every_byte_counts():
    for place in range(len(SMALL)):
        for bit in range(8):
            changed = bytearray(SMALL)
            changed[place] ^= 1 << bit
            assert not verify(split(bytes(changed))).intact, (place, bit)


def test_every_byte_counts_whatever_it_becomes():
    small = b"".join(write([1]))
    for place in range(len(small)):
        for value in b'\n\r\t \0"\\,:{}0fF\x7f\xff':
            if value != small[place]:
                changed = small[:place] + bytes([value]) + small[place + 1 :]
                assert not verify(split(changed)).intact, (place, value)


def test_every_byte_of_records_counts_between_lines_of_other_logs():
    others = b'{"level":"info","message":"reconciled","object":{"name":"chat"}}\n'
    records = write([1])
    log = others + others.join(records) + others

    def holds(content):
        return verify(line for line in split(content) if is_record(line)).intact

    assert holds(log)
    for line in records:
        for place in range(log.index(line), log.index(line) + len(line)):
            for value in b'\n "0f':
                if value != log[place]:
                    assert not holds(log[:place] + bytes([value]) + log[place + 1 :]), (place, value)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_changed_byte_of_a_long_log_is_seen_at_its_line(data):
    number = data.draw(st.integers(0, len(LARGE) - 1))
    place = data.draw(st.integers(0, len(LARGE[number]) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda found: found != LARGE[number][place]))
    changed = LARGE[number][:place] + bytes([value]) + LARGE[number][place + 1 :]
    found = verify(split(b"".join([*LARGE[:number], changed, *LARGE[number + 1 :]])))
    assert not found.intact
    assert found.findings[0].line == number + 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(LARGE) - 2), st.integers(1, 20))
def test_removed_lines_are_seen_unless_they_are_the_last_ones(start, count):
    left = LARGE[:start] + LARGE[start + count :]
    head = json.loads(LARGE[-1])["hash"]
    assert not verify(left, head=head).intact
    if start + count < len(LARGE) and start > 0:
        assert not verify(left).intact


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(12)))
def test_another_order_is_seen(order):
    lines = write([5, 5])
    found = verify([lines[number] for number in order])
    assert found.intact == (list(order) == sorted(order))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(LARGE)), st.integers(0, len(LARGE) - 1))
def test_a_line_that_is_repeated_is_seen(place, which):
    assert not verify([*LARGE[:place], LARGE[which], *LARGE[place:]]).intact


@pytest.mark.parametrize(
    "noise", [b"\n", b" \n", b"{}\n", b"null\n", b"[]\n", b"\xff\n", b"[" * 5000 + b"\n", b"1e999\n"]
)
def test_lines_of_others_in_between_are_seen(noise):
    for place in (0, 1, 20, len(LARGE)):
        assert problems([*LARGE[:place], noise, *LARGE[place:]])[0][0] == place + 1


@pytest.mark.parametrize("tail", [b"\n", b" ", b"\r", b"\0", b"x"])
def test_anything_after_the_end_is_seen(tail):
    assert not verify(split(SMALL + tail)).intact


def test_a_forged_line_with_a_right_hash_of_its_own_does_not_fit():
    lines = list(LARGE)
    record = json.loads(lines[5])
    record["decision"] = "Allow"
    own = {key: value for key, value in record.items() if key not in chain.OWN_FIELDS}
    place = chain.Position(record["term"], record["sequence"], record["previous"])
    lines[5] = chain.seal(own, place)[0]
    assert problems(lines) == [(7, "does not follow the line before it: one of the two was replaced")]


@pytest.mark.parametrize("place", [line for line, found in enumerate(LARGE) if b"TermStarted" in found])
def test_the_first_line_of_a_term_that_is_repeated_is_seen(place):
    for where in (place + 1, len(LARGE)):
        found = problems([*LARGE[:where], LARGE[place], *LARGE[where:]])
        assert found[0] == (where + 1, f"is a copy of line {place + 1}")


def test_a_decision_that_begins_a_term_of_its_own_is_seen():
    line, _ = chain.seal(
        {"event": "Decided", "decision": "Allow"}, chain.Position("evil/1", 0, json.loads(LARGE[-1])["hash"])
    )
    assert problems([*LARGE, line])[0][0] == len(LARGE) + 1


def test_a_last_line_that_was_cut_is_told_as_such():
    assert problems([*LARGE[:-1], LARGE[-1][:-1]]) == [(len(LARGE), "has no end: it was cut off")]


@pytest.mark.parametrize("number", [1, 25, 27, 1000])
def test_a_forged_line_with_a_number_that_is_not_due_is_seen(number):
    last = json.loads(LARGE[-1])
    line, _ = chain.seal({"event": "Decided"}, chain.Position(last["term"], number, last["hash"]))
    assert problems([*LARGE, line])[0][0] == len(LARGE) + 1


def test_a_tail_that_was_rewritten_with_right_hashes_is_seen_by_the_head_alone():
    """What a chain cannot know by itself; docs/evidence.md says so."""
    head = json.loads(LARGE[-1])["hash"]
    line, _ = chain.seal(
        {"event": "Decided", "decision": "Allow"}, chain.Position("operator-2/2", 25, json.loads(LARGE[-2])["hash"])
    )
    forged = [*LARGE[:-1], line]
    assert verify(forged).intact
    assert "is missing" in problems(forged, head=head)[0][1]


def test_an_empty_log_is_not_intact():
    assert not verify([]).intact


def test_a_log_in_several_files_is_verified_file_by_file():
    first, second = LARGE[:50], LARGE[50:]
    assert verify(second, after=verify(first).head).intact
    assert "--after" in problems(second)[0][1]
    assert problems(second, after="a" * 64)
    assert verify(LARGE[41:]).notes  # begins with a term: the file of another pod


def test_lines_that_a_killed_process_could_not_hand_over_are_a_note():
    lines = write([5, 3], handed_over=2)
    found = verify(lines)
    assert found.intact
    assert [(note.line, note.text[:9]) for note in found.notes] == [(5, "2 line(s)")]


def test_a_term_that_nobody_follows_is_seen():
    """Lines of a whole term, put between two others."""
    lines = write([5, 3])
    head = json.loads(lines[5])["hash"]
    position, forged = chain.Position("evil/1", previous=head), []
    for content in ({"event": "TermStarted"}, {"event": "Decided", "decision": "Allow"}):
        line, position = chain.seal(content, position)
        forged.append(line)
    assert "inserted" in problems([*lines[:6], *forged, *lines[6:]])[0][1]


def test_a_process_that_died_before_its_first_decision_does_no_harm():
    lines = write([5, 3])
    died, _ = chain.seal({"event": "TermStarted"}, chain.Position("died/1", previous=json.loads(lines[5])["hash"]))
    found = verify([*lines[:6], died, *lines[6:]])
    assert found.intact
    assert found.notes


def test_a_record_cannot_set_fields_of_the_chain():
    with pytest.raises(ValueError, match="previous"):
        chain.seal({"previous": "x"}, chain.Position("a/1"))


def test_a_record_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="longer"):
        chain.seal({"message": "x" * chain.LONGEST_LINE}, chain.Position("a/1"))
