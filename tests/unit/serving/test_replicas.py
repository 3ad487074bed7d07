import gc
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from llama_serving import replicas


@pytest.fixture
def late(tmp_path, monkeypatch):
    """A module of a deployment that keeps whether it was loaded beside the collector."""
    (tmp_path / "late_module.py").write_text("import gc\nCOLLECTED = gc.isenabled()\nclass Late: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(replicas._MODULES, "Late", "late_module")
    yield
    sys.modules.pop("late_module", None)
    gc.unfreeze()


@pytest.mark.parametrize("collects", [True, False])
def test_modules_load_without_the_collector_which_is_afterwards_as_it_was(late, collects):
    (gc.enable if collects else gc.disable)()
    try:
        assert replicas.Late.__name__ == "Late"
        assert not sys.modules["late_module"].COLLECTED
        assert gc.isenabled() is collects
    finally:
        gc.enable()


def test_the_classes_that_the_application_names_are_those_that_it_loads():
    # Read and not imported: Ray warns when it is imported.
    source = Path(importlib.util.find_spec("llama_serving.app").origin).read_text(encoding="utf-8")
    assert set(re.findall(r'"llama_serving\.replicas\.(\w+)"', source)) == set(replicas._MODULES)
    for name, module in replicas._MODULES.items():
        assert re.search(
            rf"^(class )?{name}\b",
            Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8"),
            re.MULTILINE,
        )


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="NoServer"):
        replicas.NoServer  # noqa: B018
