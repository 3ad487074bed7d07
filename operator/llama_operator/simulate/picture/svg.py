"""SVG pictures of runs, written as text: curves over time, and attainment against GPU-hours. Called by the command and the bench.

Colors are those of Okabe and Ito, which people with any color vision tell apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from llama_operator.simulate.picture.curves import Curves

_WIDTH, _LEFT, _RIGHT = 900, 60, 24
_PANEL, _GAP, _TOP = 220, 56, 52
_READY, _NEED, _HELD, _QUEUE, _FRONT = "#56B4E9", "#D55E00", "#0072B2", "#CC79A7", "#009E73"
_TICKS = 5
_STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
"""Between two ticks, times a power of ten: figures that a person reads at a glance."""


@dataclass(frozen=True, slots=True)
class Point:
    """One autoscaler in the picture of attainment against GPU-hours."""

    name: str
    relative_hours: float
    attainment: float
    """0 to 1."""


def timeline(title: str, runs: Sequence[tuple[str, Curves]]) -> str:
    """Draw replicas, need and queue of runs over time: two panels for each run, on the same scales.

    Args:
        title: Above all of it.
        runs: Name and curves of each.
    """
    highest = max((found.highest for _, found in runs), default=1.0)
    queued = max((max(found.queued, default=0.0) for _, found in runs), default=1.0)
    parts, top = [], _TOP + 24
    for name, found in runs:
        parts += _replicas(name, found, top, max(1.0, highest))
        top += _PANEL + _GAP
        parts += _queue(found, top, max(1.0, queued))
        top += _PANEL // 2 + _GAP
    legend = _legend(((_READY, "serve"), (_HELD, "hold GPUs"), (_NEED, "needed"), (_QUEUE, "requests that wait")))
    return _document(title, top, [*legend, *parts])


def pareto(title: str, points: Sequence[Point]) -> str:
    """Draw attainment against GPU-hours over the clairvoyant's, with the front of those that nobody beats in both."""
    height = 2 * _PANEL
    left, right = 0.0, _rounded(max((point.relative_hours for point in points), default=1.0) * 1.1)
    low = math.floor(10 * min((point.attainment for point in points), default=0.0)) / 10
    plot = _Plot(_TOP + 24, height, (left, right), (low, 1.0))
    parts = plot.frame("GPU-hours over the clairvoyant's", "share of first tokens within the objective", percent=True)
    front = _front(points)
    if front:
        places = " ".join(f"{plot.x(point.relative_hours):.1f},{plot.y(point.attainment):.1f}" for point in front)
        parts.append(
            f'<polyline points="{places}" fill="none" stroke="{_FRONT}" stroke-width="2" stroke-dasharray="6 4"/>'
        )
    for point in points:
        x, y = plot.x(point.relative_hours), plot.y(point.attainment)
        color = _FRONT if point in front else _NEED
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color}"/>')
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" font-size="12">{escape(point.name)}</text>')
    return _document(title, _TOP + 24 + height + _GAP, parts)


def _rounded(value: float) -> float:
    """Return the end of an axis that holds `value`, with round figures at its ticks."""
    least = max(value, 1e-9) / _TICKS
    power = 10.0 ** math.floor(math.log10(least))
    return _TICKS * power * next(step for step in _STEPS if power * step >= least * 0.9999)


def _front(points: Sequence[Point]) -> list[Point]:
    """Points that no other one beats in both figures, the cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda one: (one.relative_hours, -one.attainment)):
        if not front or point.attainment > front[-1].attainment:
            front.append(point)
    return front


@dataclass(frozen=True, slots=True)
class _Plot:
    """Where a panel lies, and what it shows."""

    top: float
    height: float
    across: tuple[float, float]
    up: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.across
        return _LEFT + (value - low) / ((high - low) or 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.up
        return self.top + self.height - (value - low) / ((high - low) or 1.0) * self.height

    def frame(self, across: str, up: str, *, percent: bool = False) -> list[str]:
        """Axes with five ticks each, and their names."""
        bottom, middle = self.top + self.height, self.top + self.height / 2
        parts = [
            f'<rect x="{_LEFT}" y="{self.top}" width="{_WIDTH - _LEFT - _RIGHT}" height="{self.height}" fill="none" stroke="#999"/>',
            f'<text x="{_WIDTH / 2}" y="{bottom + 34}" text-anchor="middle" font-size="12">{escape(across)}</text>',
            f'<text x="14" y="{middle}" text-anchor="middle" font-size="12" transform="rotate(-90 14 {middle})">{escape(up)}</text>',
        ]
        for tick in range(_TICKS + 1):
            share = tick / _TICKS
            value = self.across[0] + share * (self.across[1] - self.across[0])
            x = self.x(value)
            parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" font-size="11">{value:.4g}</text>')
            value = self.up[0] + share * (self.up[1] - self.up[0])
            text = f"{value:.0%}" if percent else f"{value:.4g}"
            y = self.y(value)
            parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#eee"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="11">{text}</text>')
        return parts


def _replicas(name: str, found: Curves, top: float, highest: float) -> list[str]:
    plot = _Plot(top, _PANEL, (0.0, _rounded(_minutes(found))), (0.0, _rounded(highest)))
    area = _steps(plot, found.seconds, found.ready)
    bottom = plot.y(0.0)
    return [
        *plot.frame("minutes", "replicas"),
        f'<text x="{_LEFT}" y="{top - 8}" font-size="13" font-weight="bold">{escape(name)}</text>',
        f'<polygon points="{plot.x(0):.1f},{bottom:.1f} {area} {plot.x(_minutes(found)):.1f},{bottom:.1f}" fill="{_READY}" fill-opacity="0.5"/>',
        _line(_steps(plot, found.seconds, found.held), _HELD),
        _line(_steps(plot, found.seconds, found.need), _NEED),
    ]


def _queue(found: Curves, top: float, highest: float) -> list[str]:
    plot = _Plot(top, _PANEL / 2, (0.0, _rounded(_minutes(found))), (0.0, _rounded(highest)))
    return [*plot.frame("minutes", "waiting"), _line(_steps(plot, found.seconds, found.queued), _QUEUE)]


def _steps(plot: _Plot, seconds: Sequence[float], values: Sequence[float]) -> str:
    """A line that holds each value until the next one."""
    places: list[str] = []
    before: float | None = None
    for second, value in zip(seconds, values, strict=True):
        x = plot.x(second / 60)
        if before is not None and before != value:
            places.append(f"{x:.1f},{plot.y(before):.1f}")
        places.append(f"{x:.1f},{plot.y(value):.1f}")
        before = value
    return " ".join(places)


def _line(places: str, color: str) -> str:
    return f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="1.8"/>'


def _minutes(found: Curves) -> float:
    return max(1.0, found.seconds[-1] / 60) if found.seconds else 1.0


def _legend(entries: Sequence[tuple[str, str]]) -> list[str]:
    parts, x = [], float(_LEFT)
    for color, text in entries:
        parts.append(f'<rect x="{x}" y="34" width="14" height="10" fill="{color}"/>')
        parts.append(f'<text x="{x + 20}" y="43" font-size="12">{escape(text)}</text>')
        x += 40 + 7.5 * len(text)
    return parts


def _document(title: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" fill="#222">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>\n'
        f'<text x="{_LEFT}" y="22" font-size="16" font-weight="bold">{escape(title)}</text>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"
