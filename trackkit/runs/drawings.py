"""The small pictures of the index, as SVG: opens after a launch, and rates over launches."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil

from markupsafe import Markup

Line = tuple[str, Sequence[float | None]]  # its name and its values
WIDTH, HEIGHT = 96, 24  # of a sparkline
WIDTHS = {"wide": 1140, "narrow": 340}  # of the trend: on a screen and on a phone
HIGH, LEFT, RIGHT, TOP, BOTTOM = 156, 40, 84, 18, 24  # of the trend, and its margins
A_DAY, A_GAP = 72, 26  # the width of a date under the trend, and of "n/a" in it


def sparkline(counts: Sequence[int], words: str) -> Markup:
    """Return columns of counts, the largest as high as the picture; `words` say what is drawn.

    >>> "M48.0 24v-22.0h38.4V24z" in sparkline([0, 2], "Opens")
    True
    """
    step, most = WIDTH / len(counts), max(counts) or 1
    columns = "".join(
        f"M{place * step:.1f} {HEIGHT}v-{max(1.0, count / most * (HEIGHT - 2)):.1f}h{step * 0.8:.1f}V{HEIGHT}z"
        for place, count in enumerate(counts)
        if count
    )
    return Markup(
        '<svg class="spark" role="img" viewBox="0 0 {w} {h}" preserveAspectRatio="none"><title>{words}</title>'
        '<path d="{d}"/><path class="axis" d="M0 {h}h{w}"/></svg>'
    ).format(w=WIDTH, h=HEIGHT, words=words, d=columns)


def trend(
    lines: Sequence[Line],
    tips: Sequence[Sequence[str]],
    days: Sequence[str],
    tick: Callable[[float], str],
    words: str,
    unknown: str,
    width: str = "wide",
) -> Markup:
    """Return lines of rates over launches, each with its name at its end, on one scale that begins at 0.

    `tips` are what each point of each line says; `days` name the launches, as many as there is room for; `tick` writes
    a share. A rate that is unknown leaves a gap, with `unknown` above it.
    """
    top = _top(max((value for _, values in lines for value in values if value is not None), default=0.0))
    wide = WIDTHS[width]
    step = (wide - LEFT - RIGHT) / max(1, len(days) - 1)
    places = [LEFT + at * step for at in range(len(days))]
    parts = {
        "grid": _grid(top, tick, wide),
        "drawn": Markup("").join(_line(at, values, tips[at], top, places) for at, (_, values) in enumerate(lines)),
        "gaps": _gaps(lines, tips, places, unknown),
        "names": _names(lines, top, wide),
        "days": _days(days, places, step),
    }
    return Markup(
        '<svg class="trend {width}" role="img" viewBox="0 0 {w} {h}"><title>{words}</title>{grid}{drawn}{gaps}{names}'
        "{days}</svg>"
    ).format(width=width, w=wide, h=HIGH, words=words, **parts)


def _days(days: Sequence[str], places: Sequence[float], step: float) -> Markup:
    """The dates under the launches, the last one always."""
    day = Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>')
    shown = [*zip(places, days, strict=True)][:: -max(1, ceil(A_DAY / step)) if step else -1]
    return Markup("").join(day.format(x, HIGH - 6, words) for x, words in reversed(shown))


def _gaps(lines: Sequence[Line], tips: Sequence[Sequence[str]], places: Sequence[float], unknown: str) -> Markup:
    """A word above each launch of which a rate is unknown; one for several that stand too close."""
    word = Markup('<text class="tick middle" x="{:.1f}" y="{}">{}<title>{}</title></text>')
    drawn: list[Markup] = []
    last = -float(A_GAP)
    for at, x in enumerate(places):
        missing = [tips[place][at] for place, (_, values) in enumerate(lines) if values[at] is None]
        if missing and x - last >= A_GAP:
            drawn.append(word.format(x, TOP - 6, unknown, "\n\n".join(missing)))
            last = x
    return Markup("").join(drawn)


def _names(lines: Sequence[Line], top: float, wide: int) -> Markup:
    """The name of each line at its end."""
    lasts = [next((value for value in reversed(values) if value is not None), 0.0) for _, values in lines]
    heights = _apart([_y(value, top) for value in lasts])
    name = Markup('<text class="name line-{}" x="{}" y="{:.1f}">{}</text>')
    x = wide - RIGHT + 10
    return Markup("").join(name.format(at + 1, x, y + 4, lines[at][0]) for at, y in enumerate(heights))


def _top(most: float) -> float:
    """The end of the scale: a round share at least as large as all."""
    return next((top for top in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if most <= top), most)


def _y(share: float, top: float) -> float:
    return HIGH - BOTTOM - share / top * (HIGH - TOP - BOTTOM)


def _grid(top: float, tick: Callable[[float], str], wide: int) -> Markup:
    row = Markup('<path class="grid" d="M{} {:.1f}H{}"/><text class="tick end" x="{}" y="{:.1f}">{}</text>')
    heights = [(share, _y(share, top)) for share in (0, top / 2, top)]
    rows = [row.format(LEFT, y, wide - RIGHT, LEFT - 6, y + 4, tick(share)) for share, y in heights]
    return Markup("").join(rows)


def _line(
    place: int, values: Sequence[float | None], tips: Sequence[str], top: float, places: Sequence[float]
) -> Markup:
    heights = [None if value is None else _y(value, top) for value in values]
    points = [*zip(places, heights, strict=True)]
    path, is_drawing = "", False
    for x, y in points:
        path += "" if y is None else f"{'L' if is_drawing else 'M'}{x:.1f} {y:.1f}"
        is_drawing = y is not None
    dots = [
        Markup('<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{tip}</title></circle>').format(x=x, y=y, tip=tip)
        for (x, y), tip in zip(points, tips, strict=True)
        if y is not None
    ]
    return Markup('<g class="line-{place}"><path d="{path}"/>{dots}</g>').format(
        place=place + 1, path=path, dots=Markup("").join(dots)
    )


def _apart(heights: list[float], least: float = 15) -> list[float]:
    """Move the names of lines apart that would overlap, the higher one up."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = list(heights)
    for upper, lower in pairwise(order):
        moved[lower] = max(moved[lower], moved[upper] + least)
    return moved
