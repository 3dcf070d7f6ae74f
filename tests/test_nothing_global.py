"""Charts that a user makes with altair are theirs, before and after ours; tables need no altair."""

import json
import subprocess
import sys
from pathlib import Path

import altair as alt
import polars as pl
import pytest
from altair.utils.schemapi import SchemaValidationError

import trackkit as tk
from trackkit.show.theme import theme

ROOT = Path(__file__).resolve().parents[1]
MEASURED = pl.DataFrame(
    {"domain": ["a.example", "b.example"], "open_rate": [0.5, 0.25], "unique_opens": [2, 1], "delivered": [4, 4]}
)
THEIRS = """
import json, altair as alt, polars as pl
chart = alt.Chart(pl.DataFrame({"a": [1, 2]})).mark_bar().encode(x="a:Q")
seen = lambda: (chart.to_dict(), sorted(chart._repr_mimebundle_()), alt.theme.active, alt.renderers.active,
                alt.data_transformers.active, alt.data_transformers.options)
before = seen()
import trackkit as tk
frame = pl.DataFrame({"domain": ["a"], "open_rate": [0.5], "unique_opens": [1], "delivered": [2]})
ours = tk.charts.rate_bars(frame, "domain", ["open_rate"])
ours.to_dict(), ours._repr_mimebundle_()
print(json.dumps([before == seen(), ours.to_dict()["config"]["font"]]))
"""


def _ran(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _ours() -> alt.LayerChart:
    return tk.charts.rate_bars(MEASURED, "domain", ["open_rate"])


def test_a_chart_of_theirs_is_the_same_before_and_after_ours():
    assert json.loads(_ran(THEIRS)) == [True, theme().fonts.text]


def test_ours_is_the_same_under_a_theme_of_theirs():
    plain = _ours().to_dict()
    with alt.theme.enable("dark"), alt.data_transformers.enable("default", max_rows=1):
        assert _ours().to_dict() == plain
        assert alt.theme.active == "dark" and alt.data_transformers.options == {"max_rows": 1}


def test_a_restyled_chart_and_one_layered_with_theirs_stay_ours():
    rule = alt.Chart(pl.DataFrame({"at": [0.3]})).mark_rule().encode(x="at:Q")
    for chart in (_ours().properties(title="Mine"), _ours() + rule, _ours().layer[1] + rule):
        assert chart.to_dict()["config"]["font"] == theme().fonts.text
        assert "application/vnd.vegalite.v5+json" in chart._repr_mimebundle_()


def test_their_settings_come_back_when_ours_fails():
    chart = _ours()
    chart.width = "no width"
    with pytest.raises(SchemaValidationError, match="no width"):
        chart.to_dict()
    assert (alt.theme.active, alt.renderers.active) == ("default", "default")


def test_tables_findings_and_tiles_need_no_altair():
    code = "import sys, trackkit as tk; tk.tables, tk.findings, tk.tiles; print('altair' in sys.modules)"
    assert _ran(code) == "False\n"
