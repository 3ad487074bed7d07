"""Incidents that somebody on call meets: every view says what has to be said. Six are played at once; `make gameday` plays all.

Nightly: `tests/transition` has the causes, many of them as objects that a real cluster wrote.
"""

import pytest

from gameday import report
from gameday.incidents import INCIDENTS
from gameday.runner import Day

pytestmark = [pytest.mark.control_plane, pytest.mark.nightly]

PATIENCE = 90.0
"""Seconds that are waited beyond the time that a game day demands: how busy the machine is says nothing about the operator."""
SAMPLED = [one for one in INCIDENTS if one.sampled]


@pytest.fixture(scope="module")
def played(plane):
    """What was said of each incident, by its name."""
    with Day(plane, PATIENCE) as day:
        return {one.incident.name: one for one in day.play(SAMPLED, at_once=len(SAMPLED))}


@pytest.mark.parametrize("name", [one.name for one in SAMPLED])
def test_every_view_says_what_it_has_to(played, name):
    problems = () if played[name].told else tuple(report.wrong(played[name]))
    assert not problems
