"""Hashes of what a kept line rests on: the code of an autoscaler and of the simulator, and what a workload is. Called by `bench.autoscaling.basis` and `.loads`."""

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from bench.autoscaling.cells import ROOT, Workload
from bench.autoscaling.figures import LATENCY, PRODUCT

_SIMULATOR = ROOT / "operator" / "llama_operator" / "simulate"


@cache
def digest(name: str) -> str:
    """Short hash of all the code that the result of an autoscaler rests on: old lines are then known as such."""
    package = _SIMULATOR
    # What is drawn decides nothing, and what a trace is read or drawn by only through the arrivals, which `loads` hashes.
    sources = [path for path in package.rglob("*.py") if path.parent.name not in {"picture", "traces"}]
    # One autoscaler does not depend on the others.
    sources = [path for path in sources if path.parent.name != "scalers" or path.stem in {"known", "table"}]
    sources += [
        *(ROOT / "tools" / "bench" / "compiled").glob("*.py"),
        *(ROOT / "tools" / "bench" / "autoscaling").glob("autoscaling*.yaml"),
        # What a card can do.
        *(ROOT / "operator" / "llama_operator" / "catalog" / "data").glob("performance*.json"),
    ]
    if name in (PRODUCT, LATENCY):
        serving = ROOT / "serving" / "llama_serving"
        sources += [
            package / "scalers" / "product.py",
            # Not what is below it: `ray_serve` only translates for Serve, and the simulator does without it. Words decide nothing.
            *(path for path in serving.glob("autoscaling/*.py") if path.stem != "reasons"),
        ]
    else:
        sources += [path for path in package.glob("scalers/*.py") if path.stem != PRODUCT]
    return _of(sources)


@cache
def traces() -> str:
    """Short hash of the code that reads and draws traces: as long as it stays, arrivals stay."""
    return _of((_SIMULATOR / "traces").glob("*.py"))


def _of(sources: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in sorted(sources):
        content = path.read_text(encoding="utf-8")
        whole.update((code(content) if path.suffix == ".py" else content).encode())
    return whole.hexdigest()[:12]


def code(source: str) -> str:
    """What a module does, without what it says about itself: comments, strings that stand alone, and its layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def definition(workload: Workload) -> str:
    """Short hash of what a workload is, apart from its name, what it is used for and who plays it."""
    return hashlib.sha256(repr(replace(workload, name="", tuning=False, day=False, weeks=False)).encode()).hexdigest()[
        :12
    ]
