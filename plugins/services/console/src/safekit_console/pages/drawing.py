"""Shapes for SVG, as attributes: a page has no inline style."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT, MARGIN = 200, 32, 2


def polyline(points: Sequence[float]) -> str:
    """The `points` of a line through these values, from the left to the right, the least at the bottom."""
    least, most = min(points), max(points)
    high = (most - least) or 1.0
    step = (WIDTH - 2 * MARGIN) / (len(points) - 1)
    return " ".join(
        f"{MARGIN + place * step:.1f},{HEIGHT - MARGIN - (value - least) / high * (HEIGHT - 2 * MARGIN):.1f}"
        for place, value in enumerate(points)
    )
