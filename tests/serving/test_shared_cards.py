"""Which cards Ray gives to a model and the guard that shares them: real Ray, with cards that it is told of.

Nightly: the answer is Ray's alone, and changes with its version only.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.serving
DRIVER = Path(__file__).parents[1] / "support" / "serving" / "shared_cards.py"


@pytest.mark.nightly
@pytest.mark.parametrize("first", ["model", "guard"])
def test_each_has_its_place_whichever_is_first_and_a_second_one_of_either_has_none(first):
    done = subprocess.run(
        [sys.executable, str(DRIVER), first],
        env=os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    model, guard, second_model, second_guard = done.stdout.split()
    assert model in {"0,1", "1,0"}, "two ranks on different cards"
    assert guard in {"0", "1"}, "on a card of the model"
    assert (second_model, second_guard) == ("pends", "pends")
