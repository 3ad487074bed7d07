"""The stages of `make test` and `make test-matrix`: what each runs, and the memory that it needs. Read by `__main__`.

Times and peaks were measured on two cores; CONTRIBUTING.md has them.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.binaries import EDITION, EDITIONS
from kuberay_crds import LATER
from kuberay_crds import VARIABLE as KUBERAY

CORES: Final = os.cpu_count() or 1
ROOT: Final = Path(__file__).resolve().parents[2]
_PROGRAMS: Final = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs as one process, with all that it starts.

    Attributes:
        name: How it is asked for, and what its lines begin with.
        command: Program and arguments.
        memory_gib: Memory that it needs at its peak. It waits until so much is there.
        quick: Whether it runs before all others: they are not started when it fails. Beside planes and engines, with a session of
            the system for each of their processes, the fast tests would take four times as long.
        tests: Whether it is pytest, which then reports to a file.
    """

    name: str
    command: tuple[str, ...]
    memory_gib: float = 1.0
    quick: bool = False
    tests: bool = True


def _program(name: str) -> str:
    return str(_PROGRAMS / name)


NIGHTLY: Final = "LLAMA_OPERATOR_TEST_NIGHTLY"
"""Variable that, when it is set, adds what `make test` leaves to `make e2e` and `make test-nightly`."""
TRACES: Final = "LLAMA_OPERATOR_TRACES"
"""Variable with the folder of request traces of others; without it nothing is asked of them."""
_NO_TRACES: Final = "" if os.environ.get(TRACES) else " and not traces"
_NIGHTLY_TOO: Final = bool(os.environ.get(NIGHTLY))
_LEFT_OUT: Final = "" if _NIGHTLY_TOO else " and not nightly"


def _pytest(*arguments: str) -> tuple[str, ...]:
    # Without pytest's own cache: stages that run side by side would write the same file.
    return (_program("pytest"), "-q", "-p", "no:cacheprovider", *arguments)


_WORKERS: Final = ("--dist", "loadfile", "--no-loadscope-reorder", "-n")
_ON_PLANES: Final = ("tests/control_plane", "tests/chart", "tests/contract")
STAGES: Final = (
    Stage("lint", ("make", "--no-print-directory", "lint"), 0.5, quick=True, tests=False),
    Stage("types", (_program("mypy"),), 1.0, quick=True, tests=False),
    Stage(
        "fast",
        _pytest(
            "-n",
            # One more than cores: some tests wait.
            str(CORES + 1),
            "--dist",
            "worksteal",
            "-m",
            f"not serving and not control_plane and not e2e and not images and not two_nodes{_NO_TRACES}{_LEFT_OUT}",
        ),
        1.5,
        quick=True,
    ),
    # Those that take longest first. Three workers, however many cores: each has control planes of some 3 GiB.
    Stage("control-plane", _pytest(*_WORKERS, "3", "-m", f"control_plane{_LEFT_OUT}", *_ON_PLANES), 9.5),
    Stage("serving", _pytest("-m", f"serving{_LEFT_OUT}", "tests/serving"), 6.5),
    # By itself: on a worker of the planes it was tried, and a run took two minutes longer. Before `e2e`, which is short and runs
    # beside it once the planes are done.
    Stage("local", _pytest("-m", f"serving{_LEFT_OUT}", "tests/local"), 3.5),
    # What needs the serving image has a target that builds it.
    Stage(
        "e2e",
        _pytest("-x", "-rs", "-m", f"e2e and not weights{_LEFT_OUT}", "--ignore=tests/e2e/images", "tests/e2e"),
        7.5 if _NIGHTLY_TOO else 1.5,
    ),
)
_FLOWS: Final = tuple(f"tests/control_plane/test_{name}.py" for name in ("flows", "rollout_flows", "versions", "plane"))
_SCHEMAS: Final = ("tests/golden/test_schemas.py",)
MATRIX: Final = (
    # What an API server decides (merging, validation, CEL, admission, charts), and what users see with KubeRay on it.
    *(
        Stage(
            f"kubernetes-{edition}",
            ("env", f"{EDITION}={edition}", *_pytest(*_WORKERS, "2", "-m", "control_plane", *_ON_PLANES[1:], *_FLOWS)),
            7.0,
        )
        for edition in EDITIONS
    ),
    # What we render, against the schemas of a KubeRay whose program cannot be built here.
    *(Stage(f"kuberay-{version}", ("env", f"{KUBERAY}={version}", *_pytest(*_SCHEMAS)), 1.0) for version in LATER),
)
"""Stages of other versions of Kubernetes and KubeRay; only those that are named run."""
