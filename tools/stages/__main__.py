"""Entry point: runs the stages that are named, prints the table and the sums; see the package."""

import argparse
import os
import random
import signal
import sys
from typing import Final

from stages.report import closing_line, table
from stages.runner import Runner
from stages.table import CORES, MATRIX, ROOT, STAGES

_FOLDER: Final = ROOT / ".stages"
_SEED: Final = "LLAMA_OPERATOR_TEST_SEED"


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m stages", description="Run the stages of `make test` side by side.")
    known = {each.name: each for each in (*STAGES, *MATRIX)}
    parser.add_argument(
        "names", nargs="*", metavar="STAGE", help=f"of {', '.join(known)}; without one all of `make test`"
    )
    # Not one more: it was tried, and took a minute longer.
    parser.add_argument("--at-once", type=int, default=CORES, help="stages that run side by side")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"unknown stage {unknown[0]!r}: choose from {', '.join(known)}")
    chosen = [known[name] for name in known if name in options.names] or list(STAGES)
    seed = os.environ.setdefault(_SEED, str(random.randrange(10_000)))  # noqa: S311 - no secret
    _say(f"==> {_SEED}={seed} (when leaders are killed)")
    # A terminated run tidies up like an interrupted one. In the background of a shell SIGINT is ignored, and stages inherit that.
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        results = Runner(_FOLDER, options.at_once, _say, interruptions=lambda: len(asked)).run(chosen)
    except InterruptedError:
        _say("==> interrupted; all stages have ended")
        return 130
    _say(f"\n{table(results)}\n")
    for result in results:
        if not result.good and len(chosen) > 1 and result.status is not None:
            _say("\n".join((f"{result.name} failed: {_FOLDER / result.name}.log", *result.failures)))
    _say(closing_line(results))
    return 0 if all(result.good for result in results) else 1


def _say(text: str) -> None:
    # In one piece: several threads say something.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
