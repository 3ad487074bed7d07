"""What Serve asks of the functions that it builds applications with, before it calls them."""

import ast
import importlib.util
from pathlib import Path

import pytest

from llama_serving.config import BOARD_IMPORT_PATH, IMPORT_PATH


@pytest.mark.parametrize("path", [IMPORT_PATH, BOARD_IMPORT_PATH, "support.serving.stand_in_guard:build"])
def test_a_builder_has_one_parameter_because_serve_refuses_a_second_one_with_a_default_too(path):
    module, _, name = path.partition(":")
    # Read and not imported: Ray warns when it is imported.
    found = importlib.util.find_spec(module)
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    (builder,) = (each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name)
    arguments = builder.args
    assert [each.arg for each in arguments.args] == ["args"]
    assert not (arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg)
