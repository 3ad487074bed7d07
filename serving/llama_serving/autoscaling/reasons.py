"""Reasons of decisions in numbers, for people. Called by `policy`; nothing is decided by them, so the record of the bench does not rest on this module."""

from llama_serving.autoscaling.need import Need
from llama_serving.autoscaling.sight import REPORT_SECONDS, Sight


def in_numbers(see: Sight, need: Need) -> str:
    """Return what a decision rests on: arrivals now and one start ahead, what a request costs, the need, and what waits and starts.

    Args:
        see: What the decision sees.
        need: What the load needs.
    """
    load, starts = see.load, see.starts
    level = 0.0 if load is None else load.level
    expected = 0.0 if load is None else load.ahead(starts.cold_start + REPORT_SECONDS)[0]
    stuck = see.trust.stuck
    parts = [
        f"{level:.3g} requests/s, {expected:.3g}/s in {starts.cold_start:.0f} s",
        f"{see.one.request:.2g} s of an engine each" if see.one.request > 0 else "",
        f"{need.steady} needed",
        f"{see.waiting:.0f} wait" if see.waiting > 0 else "",
        f"{stuck:.0f} more are counted in a router, but engines are idle" if stuck > 0 else "",
        f"{len(starts.coming)} start" if starts.coming else "",
        f"{starts.absent} starts overdue" if starts.absent else "",
    ]
    return ", ".join(filter(None, parts))
