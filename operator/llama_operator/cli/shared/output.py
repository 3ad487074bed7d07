"""What the commands on a cluster print in common: JSON, ages, plans, marks. Called by these commands."""

import json
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 240
"""Characters that hold every table; lines are as long as what stands in them."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def print_json(content: Any) -> None:
    """Print one JSON document."""
    json.dump(content, sys.stdout, indent=2)
    print()


def print_json_line(content: Any) -> None:
    """Print one JSON document in one line, at once: for a stream of them."""
    print(json.dumps(content), flush=True)


def console(*, wide: bool = False) -> "Console":
    """Make the console of a command: colors where the terminal has them.

    Args:
        wide: For tables of facts: keep every column whole and let a small terminal wrap the lines, as kubectl does.
            Without a terminal there is no width to keep in any case.
    """
    from rich.console import Console

    found = Console(highlight=False)
    return Console(highlight=False, width=max(found.width, _WIDE)) if wide or not found.is_terminal else found


def moment(text: str | None) -> datetime | None:
    """Parse a time as Kubernetes writes it; None for none."""
    return None if not text else datetime.fromisoformat(text)


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, in the two largest figures that matter: `45s`, `12m`, `5h`, `4d`; empty for unknown."""
    if since is None:
        return ""
    seconds = max(0, int((now - since) / timedelta(seconds=1)))
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE}m"
    return f"{seconds // _HOUR}h" if seconds < 2 * _DAY else f"{seconds // _DAY}d"


def plan_label(chosen: ChosenPlan | None) -> str:
    """A plan in one short cell: `FP8 8×H100-80GB`, and the nodes where it takes several."""
    if chosen is None:
        return ""
    nodes = f" on {chosen.nodes_per_replica} nodes" if chosen.nodes_per_replica > 1 else ""
    return f"{chosen.precision} {chosen.gpus_per_replica}×{chosen.accelerator}{nodes}"
