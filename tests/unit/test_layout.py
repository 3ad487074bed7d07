"""Guards of the repository's shape: mistakes here break Python itself or the layers, in ways that are hard to read."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_operator_folder_is_no_package():
    assert not (ROOT / "operator" / "__init__.py").exists(), "it would shadow the standard library's operator module"
    assert not (ROOT / "serving" / "__init__.py").exists()


def test_import_operator_from_the_root_still_finds_the_standard_library():
    code = "import operator; assert operator.eq(1, 1); print(operator.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stdout.startswith(str(ROOT))


def test_test_folders_are_no_packages():
    assert [str(path) for path in (ROOT / "tests").rglob("__init__.py")] == []


def test_planning_imports_neither_ray_nor_vllm_nor_a_kubernetes_client():
    code = (
        "import sys\n"
        "from llama_operator.cli.main import main\n"
        "code = main(['plan', '-o', 'json', '-f', 'manifests/samples/llama-3.3-70b-fp8-h100.yaml'])\n"
        "heavy = {'ray', 'vllm', 'torch', 'kubernetes', 'kopf', 'aiohttp', 'rich', 'cryptography'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_of_the_operator_imports_ray_vllm_or_torch():
    code = (
        "import importlib, pkgutil, sys, llama_operator\n"
        "for module in pkgutil.walk_packages(llama_operator.__path__, 'llama_operator.'):\n"
        "    importlib.import_module(module.name)\n"
        "heavy = {'ray', 'vllm', 'torch', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_there_is_no_yaml_in_python_strings():
    sources = [*(ROOT / "operator").rglob("*.py"), *(ROOT / "serving").rglob("*.py")]
    guilty = [str(path) for path in sources if "apiVersion: " in path.read_text(encoding="utf-8")]
    assert guilty == []


MOST_MODULES = 16
"""As many as a reader takes in at a glance; `__init__` is not counted."""


def test_no_folder_has_more_modules_than_a_reader_takes_in():
    counts = Counter(
        path.parent.relative_to(ROOT)
        for room in ("operator", "serving", "tests", "tools")
        for path in (ROOT / room).rglob("*.py")
        if path.name != "__init__.py"
    )
    assert {str(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_unit_tests_lie_in_folders_with_the_names_of_those_they_test():
    unit = ROOT / "tests" / "unit"
    sources = {"serving": ROOT / "serving" / "llama_serving", "tools": ROOT / "tools"}
    strangers = []
    for folder in {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")} - {Path()}:
        first, *others = folder.parts
        mirrored = sources.get(first, ROOT / "operator" / "llama_operator" / first).joinpath(*others)
        strangers += [] if mirrored.is_dir() else [str(folder)]
    assert strangers == []


def test_no_committed_file_names_a_package_index():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    hosts = re.compile(r"py[p]i\.[o]rg|python[h]osted|proxy\.go[l]ang|registry\.np[m]js")
    guilty = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix not in {".png", ".gz"}:
            text = path.read_text(encoding="utf-8", errors="ignore")
            guilty += [name] if hosts.search(text) else []
    assert guilty == []
