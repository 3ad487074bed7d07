"""The world of the transition tests, with what it could not read at hand."""

from dataclasses import replace

import pytest

from llama_operator.observe.unreadable import Unreadable


@pytest.fixture
def world(make_world):
    """Without the comparison with the command line, which closes its files to what a live object may hold."""
    made = make_world()
    made.compares = False
    made.unreadable = Unreadable()
    made.ports = replace(made.ports, unreadable=made.unreadable)
    return made
