"""Plays incidents and writes what the cluster says of them to tests/recordings; `make record` runs it.

What a test reads of an object of somebody else was written by that somebody, not by the author of the test. The names of
pods, uids and times change with each run: tests rest on none of them.
"""

import argparse
import asyncio
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from recordings import engines, kubelet, libraries, without_kubelet
from recordings.kept import ENGINES, FOLDER

_STAGES: Final = ("cluster", "kubelet", "engines", "libraries")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as lines."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def write(name: str, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write the objects of one incident, without who owns which field."""
    documents = [
        {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}
        for obj in objects
    ]
    _keep(FOLDER / f"{name}.yaml", documents)


def write_engine(name: str, provenance: str, said: Mapping[str, Any]) -> None:
    """Write what Serve says of an engine, with where it comes from."""
    _keep(ENGINES / f"{name}.yaml", [{"provenance": provenance, **said}])


def _keep(path: Path, documents: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, width=120), encoding="utf-8")
    print(f"wrote {path.relative_to(FOLDER.parents[1])}: {len(documents)} objects", flush=True)


def main() -> None:
    """Play the incidents of some stages or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", nargs="*", choices=_STAGES, default=_STAGES)
    parser.add_argument("--only", default="", metavar="PATTERN", help="record the incidents whose names have it")
    options = parser.parse_args()

    def chosen(name: str) -> bool:
        return re.search(options.only, name) is not None

    with tempfile.TemporaryDirectory() as folder:
        if "cluster" in options.stage:
            asyncio.run(without_kubelet.play(Path(folder), write, chosen))
        if "kubelet" in options.stage:
            kubelet.play(Path(folder), write, chosen)
        if "engines" in options.stage:
            asyncio.run(engines.play(Path(folder), write_engine, chosen))
        if "libraries" in options.stage:
            libraries.play(write_engine, chosen)


if __name__ == "__main__":
    main()
