"""What the desk rests on, without a deployment around it: vLLM's engine, and an actor of Ray that ends and comes back.

Each runs in a process of its own, with its own environment (`support.serving.desks`).
"""

import pytest

from support.programs import said_by

pytestmark = [pytest.mark.serving, pytest.mark.timeout(900)]


@pytest.mark.nightly
def test_what_is_booked_is_what_the_engine_counts_also_for_requests_that_are_cut_off():
    counted = said_by("support.serving.desks.real_engine")

    assert len(counted) > 10
    for name, one in counted.items():
        booked, engine = one["tally"], one["engine"]
        # The engine reads a prompt for each choice, and the API counts it once.
        assert (booked["prompt"] * one["choices"], booked["output"]) == (engine["prompt"], engine["output"]), name
        assert one["finish_reason"] == ("abort" if "cut off" in name or "leaves" in name else "length"), name
    assert (
        counted["the same prompt again"]["tally"]["cached"] == counted["the same prompt again"]["engine"]["cached"] > 0
    )
    assert counted["shorter than it asked for"]["tally"]["output"] == 10


def test_replicas_share_a_limit_and_a_new_ledger_learns_what_was_spent():
    assert said_by("support.serving.desks.real_ledger") == {
        "secrets": 1,
        "admitted of 50 with a limit of 10": 10,
        "a budget of a new cluster": "known",
        "after its restart": True,
        "more than is left": "day",
        "what is left": True,
    }
