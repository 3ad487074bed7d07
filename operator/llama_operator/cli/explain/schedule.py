"""What `kubectl llama explain` says of bounds by the hour: which hold now. Called by `cli.explain.chain`."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from llama_operator.api.v1alpha1.scaling import ScalingSpec
from llama_operator.cli.shared.checks import Check, State
from llama_operator.decide.scaling.schedule import bounds_at, next_change


def told(scaling: ScalingSpec, now: datetime) -> Iterator[Check]:
    """Say which bounds hold at `now`, and which follow; nothing without a schedule."""
    if scaling.schedule is None:
        return
    held = bounds_at(scaling, now)
    name = f"window {held.window}" if held.window else "no window"
    text = f"{name} holds: {held.least} to {held.most} replicas"
    change = next_change(scaling, now)
    if change is not None:
        following = bounds_at(scaling, change)
        begins = f"window {following.window}" if following.window else "no window"
        hours = timedelta(seconds=round((change - now).total_seconds()))
        text += f"; in {hours} {begins}: {following.least} to {following.most}"
    yield Check("schedule", State.PASSED, f"{text} ({scaling.schedule.time_zone})")
