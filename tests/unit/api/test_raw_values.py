"""What others wrote is not hashed as it comes: a list where a word belongs would stop a pass (`api.readings` reads it first)."""

import ast
from pathlib import Path

import pytest

import llama_operator

PACKAGE = Path(llama_operator.__file__).parent
READERS = ("observe", "handlers", "reconcile", "evidence", "kube/server", "kube/cache", "telemetry", "status", "decide")


def hashed(tree):
    """Lines where the outcome of `.get(...)` is looked up in a set, as it came."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.In | ast.NotIn):
            continue
        raw = (
            isinstance(node.left, ast.Call)
            and isinstance(node.left.func, ast.Attribute)
            and node.left.func.attr == "get"
        )
        # Texts, tuples and lists are compared one by one.
        where = node.comparators[0]
        is_set = isinstance(where, ast.Set) or (isinstance(where, ast.Name) and where.id.lstrip("_").isupper())
        if raw and is_set and "str" not in {name.id for name in ast.walk(node.left) if isinstance(name, ast.Name)}:
            yield node.lineno


@pytest.mark.parametrize("folder", READERS)
def test_no_raw_value_is_looked_up_in_a_set(folder):
    lines = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for line in hashed(ast.parse(path.read_text()))
    ]
    assert not lines, "read it with api.readings.text first"


def test_the_check_sees_one():
    assert list(hashed(ast.parse('x = pod.get("status", {}).get("phase") in _ENDED'))) == [1]
    assert not list(hashed(ast.parse('x = text(pod.get("phase")) in _ENDED')))
