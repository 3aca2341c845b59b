"""Line charts as SVG, for the generator's own measurements, which need no Prometheus.

Our own, because a plotting library would be a large dependency for forty lines."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 220
LEFT, BOTTOM, TOP = 52, 24, 10
COLOURS = ("#2f7ed8", "#e0752d", "#7eb26d", "#a352cc")
STEPS = 4

Points = Sequence[tuple[float, float]]


def line_plot(title: str, unit: str, lines: Mapping[str, Points]) -> str:
    """A chart with one line for each series; x in seconds, y from 0 in `unit`."""
    ends = [point for points in lines.values() for point in points] or [(1.0, 1.0)]
    longest = max(x for x, _ in ends) or 1.0
    highest = _round_up(max(y for _, y in ends))

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / longest * (WIDTH - LEFT - 8)
        return across, TOP + (1 - y / highest) * (HEIGHT - BOTTOM - TOP)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for step in range(STEPS + 1):
        _, y = at(0, highest * step / STEPS)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{highest * step / STEPS:g}</text>')
        x, _ = at(longest * step / STEPS, 0)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{longest * step / STEPS:.0f} s</text>')
    for (_, points), colour in zip(lines.items(), COLOURS, strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    parts.append("</svg>")
    legend = " ".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>'
        for name, colour in zip(lines, COLOURS, strict=False)
    )
    head = f"{escape(title)} <small>({escape(unit)})</small>"
    return f"<figure><figcaption>{head}{''.join(parts)}{legend}</figcaption></figure>"


def _round_up(value: float) -> float:
    """Rounds up to 1, 2, 4, 6, 8 or 10 times a power of ten, so that axis labels are short."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power > value:
        power /= 10
    while power * 10 < value:
        power *= 10
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)
