"""Prints a Python that the project supports (3.11 to 3.13): this one, or the newest on the PATH. Called by `make install`."""

import shutil
import subprocess
import sys

SUPPORTED = ((3, 11), (3, 12), (3, 13))


def works(path: str) -> bool:
    """Whether `path` runs (a version manager's shim may exist for a version that is not installed)."""
    done = subprocess.run([path, "-c", "import venv"], capture_output=True, check=False)
    return done.returncode == 0


def main() -> int:
    """Print the path of the interpreter, or say what to install."""
    if sys.version_info[:2] in SUPPORTED:
        print(sys.executable)
        return 0
    for major, minor in reversed(SUPPORTED):
        found = shutil.which(f"python{major}.{minor}")
        if found and works(found):
            print(found)
            return 0
    print(
        "llama-operator needs Python 3.11, 3.12 or 3.13: install one, or run make PYTHON=/path/to/it", file=sys.stderr
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
