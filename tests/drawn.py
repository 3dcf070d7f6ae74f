"""What a chart draws, read from its Vega-Lite spec: for tests."""

from typing import Any

import altair as alt

from trackkit.show.charts import behind


def rows(chart: alt.TopLevelMixin) -> list[dict[str, Any]]:
    """The rows of the marks that have tooltips."""
    spec = chart.to_dict()
    return behind.rows(spec, behind.told(spec))


def encoding(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The encoding of the marks that have tooltips."""
    return behind.told(chart.to_dict())["encoding"]


def words(chart: alt.TopLevelMixin) -> list[str]:
    """What is written on the plot itself, by layers of text, not of lines' halos."""
    spec = chart.to_dict()
    texts = [unit for unit in behind.units(spec) if unit["mark"]["type"] == "text" and "stroke" not in unit["mark"]]
    named = [unit for unit in texts if "text" in unit["encoding"]]
    return [row[unit["encoding"]["text"]["field"]] for unit in named for row in behind.rows(spec, unit)]
