"""Plays incidents and writes what the cluster says of them to tests/recordings; `make record` runs it.

What a test reads of an object of somebody else was written by that somebody, not by the author of the test. The names of
pods, uids and times change with each run: tests rest on none of them.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from recordings import kubelet, without_kubelet

FOLDER: Final = Path(__file__).resolve().parents[2] / "tests" / "recordings"


def write(name: str, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write the objects of one incident, without who owns which field."""
    documents = [
        {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}
        for obj in objects
    ]
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.yaml"
    path.write_text(yaml.safe_dump_all(documents, sort_keys=True, width=120), encoding="utf-8")
    print(f"wrote {path.relative_to(FOLDER.parents[1])}: {len(documents)} objects")


def main() -> None:
    """Play the incidents of one stage or of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", nargs="*", choices=("cluster", "kubelet"), default=["cluster", "kubelet"])
    stages = parser.parse_args().stage
    with tempfile.TemporaryDirectory() as folder:
        if "cluster" in stages:
            asyncio.run(without_kubelet.play(Path(folder), write))
        if "kubelet" in stages:
            kubelet.play(Path(folder), write)


if __name__ == "__main__":
    main()
