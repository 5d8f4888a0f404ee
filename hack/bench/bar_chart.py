"""Figures as groups of bars, in SVG that a page shows as it is."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 280
LEFT, TOP, BOTTOM = 16, 64, 40
COLOURS = ("#2b6cb0", "#b7791f", "#718096", "#2f855a")


def bar_chart(
    title: str, groups: Sequence[str], series: Mapping[str, Sequence[float]]
) -> str:
    """Return a chart.

    Args:
        title: What the figures are.
        groups: The names below the bars.
        series: For each name a figure per group; four at most.
    """
    highest = max(max(figures) for figures in series.values())
    room = HEIGHT - TOP - BOTTOM
    slot = (WIDTH - 2 * LEFT) / len(groups)
    bar = slot * 0.8 / len(series)
    parts = [_text(LEFT, 20, title, weight="bold")]
    at = LEFT
    for row, (name, figures) in enumerate(series.items()):
        colour = COLOURS[row]
        parts.append(f'<rect x="{at}" y="30" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(at + 14, 39, name))
        at += 34 + 6 * len(name)
        for group, figure in enumerate(figures):
            left = LEFT + slot * (group + 0.1) + bar * row
            tall = room * figure / highest
            top = TOP + room - tall
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{bar * 0.92:.1f}" '
                f'height="{tall:.1f}" fill="{colour}"/>'
            )
            parts.append(
                _text(left + bar / 2, top - 4, f"{figure:.0f}", anchor="middle")
            )
    for group, name in enumerate(groups):
        middle = LEFT + slot * (group + 0.5)
        parts.append(_text(middle, HEIGHT - 16, name, anchor="middle"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">'
        '<rect width="100%" height="100%" fill="white"/>' + "".join(parts) + "</svg>\n"
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
