"""The colours and fonts of `reports_templates/html/theme.toml`, for the page's style and for altair's charts alike."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from trackkit import resources, toml
from trackkit.toml import Strict

SKIN = "reports_templates/html"
THEME = f"{SKIN}/theme.toml"
STYLES = (
    "style",
    "charts",
    "bar",
    "overview",
    "hotclicks",
    "formats",
)  # the style sheets of every page, in order; each may be missing

Colour = Annotated[
    str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$"), Field(description="a colour, which is written '#1f6f8b'")
]
Font = Annotated[str, StringConstraints(pattern=r"^[\w ,\"'-]+$")]


class Fonts(Strict):
    """Font stacks, system fonts only, since a report loads nothing."""

    text: Font
    mono: Font


class Colours(Strict):
    """One set of colours; `series` are those of a chart's series, the last one for "Others"."""

    page: Colour
    panel: Colour
    ink: Colour
    muted: Colour
    line: Colour
    soft: Colour
    accent: Colour
    warn: Colour
    series: list[Colour] = Field(min_length=4, max_length=24)

    def named(self) -> dict[str, str]:
        """Return every colour under the name of its CSS variable."""
        plain = {name: value for name, value in self if isinstance(value, str)}
        return plain | {f"series-{place}": colour for place, colour in enumerate(self.series, 1)}


class Logo(Strict):
    """A picture above every page, beside the theme; `words` are what it says, for those who do not see it."""

    file: Annotated[str, StringConstraints(pattern=r"^[\w-]+\.(svg|png)$")] = Field(
        description="the name of an .svg or .png beside the theme"
    )
    words: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    height: Annotated[int, Field(ge=12, le=120)] = 32  # pixels


class Theme(Strict):
    """All colours and fonts of a report, and its logo if it has one."""

    logo: Logo | None = None
    fonts: Fonts
    light: Colours
    dark: Colours


def theme(path: Path | None = None) -> Theme:
    """Read the theme, the local copy before the shipped one; RequestError names the key that is wrong.

    >>> theme().light.ink
    '#1b2228'
    """
    return toml.read(path or resources.find(THEME), Theme)


def page_style(chosen: Theme) -> str:
    """Return the style of every page: the theme's variables, then the style sheets."""
    sheets = resources.files(SKIN, "*.css")
    return css_variables(chosen) + "\n".join(sheets[name].read_text("utf-8") for name in STYLES if name in sheets)


def css_variables(chosen: Theme) -> str:
    """Return the theme as CSS custom properties: light, dark on dark screens, light on paper."""
    fonts = f"--text: {chosen.fonts.text}; --mono: {chosen.fonts.mono};"
    light, dark = _declarations(chosen.light), _declarations(chosen.dark)
    return (
        f":root {{ color-scheme: light dark; {fonts} {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


def _declarations(colours: Colours) -> str:
    return " ".join(f"--{name}: {value};" for name, value in colours.named().items())


def by_variable(chosen: Theme) -> dict[str, str]:
    """Return, for each light colour, the CSS variable that follows the light or dark scheme."""
    return {value.lower(): f"var(--{name})" for name, value in reversed(chosen.light.named().items())}


def chart_config(chosen: Theme) -> dict[str, Any]:
    """Return altair's configuration, in light colours, which the page replaces by CSS variables."""
    light = chosen.light
    words = {"labelColor": light.muted, "titleColor": light.muted, "labelFontSize": 11, "titleFontSize": 11}
    lines = {"gridColor": light.line, "domainColor": light.line, "tickColor": light.line}
    return {
        "background": light.panel,
        "font": chosen.fonts.text,
        "view": {"stroke": None, "continuousHeight": 260, "continuousWidth": 620},
        "axis": words | lines | {"titleFontWeight": "normal", "labelLimit": 300},
        "axisX": {"grid": False, "titlePadding": 8},
        "axisY": {"domain": False, "ticks": False, "titlePadding": 10, "labelPadding": 6},
        "legend": words
        | {"orient": "top", "title": None, "symbolType": "square", "labelColor": light.ink, "labelLimit": 320},
        "title": {"color": light.ink, "fontSize": 13, "anchor": "start", "fontWeight": 600},
        "text": {"color": light.ink, "fontSize": 11},
        "rule": {"color": light.muted},
        "mark": {"color": light.accent},
        "bar": {"cornerRadiusEnd": 2},
        "line": {"strokeWidth": 2},
        "range": {"category": light.series},
    }
