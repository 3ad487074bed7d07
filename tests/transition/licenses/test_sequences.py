"""Sequences in time over licenses (sequences.yaml): nobody keeps, starts, grows or revives a model without the right to it,
and no honest step stops one. Every write of the operator is judged, not only the end.
"""

from pathlib import Path

import pytest
import yaml

from support.crashing.faults import CrashAfter
from support.license_steps import Stage

DATA = yaml.safe_load((Path(__file__).parent / "sequences.yaml").read_text(encoding="utf-8"))
SEQUENCES = {sequence["name"]: sequence for part in ("escapes", "honest") for sequence in DATA[part]}
CRASHED = [name for name, sequence in SEQUENCES.items() if sequence.get("crash")]


async def play(world, sequence, crash=None):
    """Play a sequence; `crash` kills the operator at one of its writes after the start."""
    stage = Stage(world)
    await stage.begin(sequence.get("start", "licensed"))
    begun = len(world.memory.writes)
    stage.operator(crash)
    if sequence in DATA["honest"] and not sequence.get("moves"):
        stage.kept = {stage.first}
    for number, step in enumerate(sequence["steps"]):
        try:
            await stage.play(step)
        except AssertionError as error:
            raise AssertionError(f"step {number + 1}, {step}: {error}") from error
    writes = sum(1 for write in list(world.memory.writes)[begun:] if write.manager == "llama-operator")
    return await stage.end(), writes


def test_there_are_enough_of_them_and_each_has_its_own_name():
    assert len(DATA["escapes"]) >= 40
    assert len(DATA["honest"]) >= 15
    assert len(SEQUENCES) == len(DATA["escapes"]) + len(DATA["honest"])


@pytest.mark.parametrize("name", SEQUENCES)
async def test_a_sequence_ends_as_it_has_to(make_world, name):
    sequence = SEQUENCES[name]
    found, _ = await play(make_world(), sequence)
    assert {key: found.get(key) for key in sequence["end"]} == sequence["end"]


@pytest.mark.parametrize("name", CRASHED)
async def test_a_crash_after_any_write_changes_no_end(make_world, name):
    sequence = SEQUENCES[name]
    _, writes = await play(make_world(), sequence)
    for lived in range(writes + 1):
        found, _ = await play(make_world(), sequence, CrashAfter(lived))
        assert {key: found.get(key) for key in sequence["end"]} == sequence["end"], (
            f"crash after write {lived} of {writes}"
        )
