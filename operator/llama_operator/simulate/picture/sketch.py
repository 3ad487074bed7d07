"""A run in a terminal: replicas against what was needed, and the queue below. Called by `cli.simulate.table`."""

from llama_operator.simulate.picture.curves import Curves

_BARS = " ▁▂▃▄▅▆▇█"
_HEIGHT = 8
_READY, _NEED, _BOTH = "░", "▔", "█"


def sketch(found: Curves) -> list[str]:
    """Draw the curves with characters.

    Each column is a moment. Bars are the replicas that serve; a line above a bar, or a dark block in it, is what was needed then.
    """
    highest = max(1.0, found.highest)
    lines = []
    for row in range(_HEIGHT, 0, -1):
        floor, middle = highest * (row - 1) / _HEIGHT, highest * (row - 0.5) / _HEIGHT
        cells = "".join(_cell(ready, need, floor, middle, highest / _HEIGHT) for ready, need in _pairs(found))
        label = f"{highest:>5.0f}" if row == _HEIGHT else "     "
        lines.append(f"{label} │{cells}")
    length = found.seconds[-1] if found.seconds else 0.0
    lines.append(f"    0 └{'─' * len(found.seconds)} {length / 60:.0f} min")
    lines.append(f"queue │{_spark(found.queued)} at most {max(found.queued, default=0.0):,.0f}")
    lines.append(
        f"       {_READY} replicas that serve   {_BOTH} what was needed, and there   {_NEED} what was needed, and missing"
    )
    return lines


def _pairs(found: Curves) -> list[tuple[float, float]]:
    return list(zip(found.ready, found.need, strict=True))


def _cell(ready: float, need: float, floor: float, middle: float, step: float) -> str:
    has, top = ready >= middle, floor < need <= floor + step
    if has and need >= middle:
        return _BOTH
    if has:
        return _READY
    return _NEED if top or (need >= middle and ready < middle) else " "


def _spark(values: tuple[float, ...]) -> str:
    highest = max(values, default=0.0)
    if highest <= 0:
        return " " * len(values)
    last = len(_BARS) - 1
    return "".join(_BARS[min(last, -int(-value * last // highest))] for value in values)
