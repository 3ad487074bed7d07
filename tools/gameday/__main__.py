"""`make gameday`: plays the incidents on a development cluster, prints what is told of each, and how soon."""

import argparse
import contextlib
import json
import re
import signal
import sys
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from control_plane import binaries, kuberay, nodes, saved_planes
from control_plane.binaries import BuildError
from control_plane.node.machine import NodeFailedError
from control_plane.node.real_node import NodeSettings, missing, real_node
from control_plane.plane import SERVICE_RANGE
from control_plane.processes import PlaneError
from gameday import report
from gameday.incident import Incident
from gameday.incidents import INCIDENTS
from gameday.runner import AT_ONCE, Day, Played
from llama_operator.decide.observed import Settings

_NODE: Final = NodeSettings("real", (Settings().image,), promised={"cpu": "16", "memory": "64Gi"})


def _chosen(pattern: str, *, real: bool) -> tuple[Incident, ...]:
    return tuple(one for one in INCIDENTS if re.search(pattern, one.name) and one.real is real)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play; the exit code is 0 if every incident is told as it has to be."""
    parser = argparse.ArgumentParser(prog="make gameday", description=__doc__)
    parser.add_argument("--only", default="", metavar="PATTERN", help="play the incidents whose names have it")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, metavar="N", help=f"play so many at once ({AT_ONCE})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was said to a file")
    parser.add_argument("--list", action="store_true", help="name the incidents, and play none")
    parser.add_argument(
        "--node", action="store_true", help="play those that need a real kubelet, on a real node (root)"
    )
    options = parser.parse_args(arguments)
    chosen = _chosen(options.only, real=options.node)
    if options.list:
        for one in chosen:
            print(f"{one.name:<28}{one.title}")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        played = _play(chosen, options.at_once, real=options.node)
    except KeyboardInterrupt:
        return 130
    except (BuildError, NodeFailedError, PlaneError) as error:
        print(f"gameday: {error}", file=sys.stderr)
        return 1
    report.table(played)
    if options.json:
        options.json.write_text(
            json.dumps(report.document(played), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return 0 if all(one.good for one in played) else 1


def _play(chosen: Sequence[Incident], at_once: int, *, real: bool) -> tuple[Played, ...]:
    if real and (why := missing()):
        raise PlaneError(why)
    print(f"==> {len(chosen)} incidents, {at_once} at once", flush=True)
    with contextlib.ExitStack() as stack:
        plane = stack.enter_context(saved_planes.control_plane())
        nodes.start_kwok(plane)
        kuberay.start(plane)
        if real:
            programs, services = binaries.ensure(("node",)), IPv4Network(SERVICE_RANGE)
            stack.enter_context(real_node(plane, programs, plane.directory, _NODE, services))
        day = stack.enter_context(Day(plane, heads=0) if real else Day(plane))
        return day.play(chosen, at_once, _tell)


def _tell(played: Played) -> None:
    result = "not played" if played.failure else "good" if played.good else "not good"
    print(f"    {played.incident.name}: {result}, {played.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
