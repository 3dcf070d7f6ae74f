"""Names that charts stumble over: what JavaScript objects have, colours, marks, and what is long or right to left.

All charts are drawn in Chromium, on one page, as a report's page draws them; what is drawn is counted.
"""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import altair as alt
import polars as pl
import pytest

from trackkit import resources
from trackkit.report.html_page import _chart
from trackkit.show import charts
from trackkit.show.charts.canvas import TAKEN
from trackkit.show.theme import page_style, theme

FAMILY, BRAZIL = "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f1e7\U0001f1f7"
ODD = [
    *TAKEN, "", "null", "undefined", "NaN", "true", "0", "a.b", "a[0]", "]", "a\\b", "\\", "it's", 'say "x"', "a\nb",
    "${x}", "</script>", "Others", "(unknown)", "#1f6f8b", "datum.group", "\u05e8\u05e9\u05d9\u05de\u05d4: (2)!",
]  # fmt: skip
LONG = ["a" * 600, FAMILY * 40, BRAZIL * 40, "e\u0301" * 60, "\u4e2d" * 60, "\u05e9\u05dc\u05d5\u05dd! " * 20]
# 29 of 20,000 are 0.145 %, and 2,675 of 100,000 are 2.675 %: in binary both are a little less.
HALVES = [(29, 20_000, "0.15%", "0,15%"), (9, 2_000, "0.5%", "0,5%"), (13, 400, "3.3%", "3,3%"),
          (2_675, 100_000, "2.68%", "2,68%"), (1, 1, "100.0%", "100,0%")]  # fmt: skip
SEEN = """(id) => {
  const plot = document.querySelector(`#${id} svg:not(.narrow)`);
  const texts = (of) => [...plot.querySelectorAll(`.role-${of} text`)].map((text) => text.textContent);
  const bars = [...plot.querySelectorAll(".mark-rect.role-mark path")].filter((path) => {
    const box = path.getBBox();
    return box.width > 0 && box.height > 0;
  });
  return {
    dots: plot.querySelectorAll(".mark-symbol.role-mark.m > *").length,
    bars: bars.length, fills: new Set(bars.map((path) => path.getAttribute("fill"))).size,
    lines: [...plot.querySelectorAll(".mark-line path")].filter((path) => path.getAttribute("d")).length,
    axis: texts("axis-label"), legend: texts("legend-label"), title: texts("title-text"),
  };
}"""


def _rates(names: list[str | None]) -> alt.LayerChart:
    rows = pl.DataFrame({"domain": names, "unique_opens": 3, "delivered": 4, "open_rate": 0.75})
    return charts.rate_bars(rows, "domain", ["open_rate"])


def _days(names: list[str]) -> alt.Chart:
    ranks, rows = [*range(1, len(names) + 1), None], ["link"] * len(names) + ["others"]
    per_day = {"day": date(2026, 1, 1), "rank": ranks, "row": rows, "link": [*names, "Others"], "clicks": 2}
    return charts.click_days(pl.DataFrame(per_day))


def _shares() -> alt.Chart:
    rows = pl.DataFrame({"rule": ODD[:30], "n": 1, "all": 30, "share": 1 / 30})
    return charts.sending.share_bars(rows, "rule", "n", "all", "share")


def _opens() -> alt.Chart:
    counts = {"opens": 2, "total": 70, "computer": 1, "mobile": 1, "unknown": 0}
    return charts.audience.opens_bars(pl.DataFrame({"rank": range(len(ODD)), "row": "group", "name": ODD} | counts))


def _usage() -> alt.LayerChart:
    days = pl.DataFrame({"day": [date(2026, 1, 1), date(2026, 1, 2)]})
    usage = pl.DataFrame({"name": ODD[:12]}).with_row_index("rank").join(days, how="cross")
    usage = usage.with_columns(visitors=1, day_visitors=12, rate=1 / 12, week_rate=1 / 12)
    return charts.audience.usage_history(usage)


def _steps() -> alt.LayerChart:
    counts = {"visitors": 4, "started": 4, "share": 1.0, "lost": 1, "loss_rate": 0.25}
    steps = {"web_application": "constructor", "goal": "toString", "place": range(1, 13), "page": ODD[:12]}
    return charts.web.funnel_bars(pl.DataFrame(steps | counts))


def _service() -> alt.LayerChart:
    acts = {"series": ["subscriptions"] * 2, "count": 1, "cumulated": [1, 2], "service": "__proto__", "service_id": "1"}
    weeks = pl.DataFrame({"starts_on": [date(2026, 1, 5), date(2026, 1, 12)], "is_whole": True} | acts)
    return charts.platform.subscription_charts(weeks)[0]


def _halves(lang: str) -> alt.Chart:
    parts = {"n": [n for n, *_ in HALVES], "all": [m for _, m, *_ in HALVES], "share": [n / m for n, m, *_ in HALVES]}
    rows = pl.DataFrame({"rule": [str(n) for n in range(len(HALVES))]} | parts)
    return charts.sending.share_bars(rows, "rule", "n", "all", "share", lang)


CHARTS = {
    "rates": _rates([*ODD, None]), "long": _rates(LONG), "days": _days(ODD[:22]),
    "colours": _days([theme().light.accent, "Home"]), "shares": _shares(), "opens": _opens(), "usage": _usage(),
    "steps": _steps(), "service": _service(), "halves": _halves("en"),
    "halves_pt": _halves("pt_BR"),
}  # fmt: skip


def _piece(name: str) -> dict[str, Any]:
    spec = json.loads(json.dumps(CHARTS[name].to_dict()))
    return _chart(spec, theme(), False, name, "pt_BR" if name.endswith("_pt") else "en")


@pytest.fixture(scope="module")
def page(chromium: str) -> Iterator[Any]:
    """All charts, drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        faults: list[str] = []
        page.on("console", lambda told: faults.append(told.text))
        page.set_content(f"<style>{page_style(theme())}</style>" + "".join(
            f'<figure id="{name}" style="width:900px"><div class="plot">{"".join(piece["pictures"])}</div></figure>'
            for name, piece in ((name, _piece(name)) for name in CHARTS)
        ))  # fmt: skip
        page.add_script_tag(content=resources.find("reports_templates/html/charts.js").read_text("utf-8"))
        assert not faults
        yield page
        browser.close()


def test_each_odd_name_has_its_mark(page: Any) -> None:
    seen = {name: page.evaluate(SEEN, name) for name in CHARTS}
    bars = {name: found["bars"] for name, found in seen.items() if found["bars"]}
    assert bars == {
        "days": 5, "colours": 3, "shares": 30, "opens": 2 * len(ODD), "steps": 12,
        "service": 2, "halves": 5, "halves_pt": 5,
    }  # fmt: skip
    assert (seen["rates"]["dots"], seen["long"]["dots"]) == (len(ODD) + 1, 6)
    assert seen["usage"]["lines"] == 12
    assert [text for text in seen["rates"]["axis"] if text in TAKEN] == list(TAKEN)
    assert (seen["steps"]["title"], seen["service"]["title"]) == (["constructor · toString"], ["__proto__"])
    assert seen["days"]["legend"] == [*ODD[:4], "Others"]
    assert seen["colours"]["legend"][0] == theme().light.accent and seen["colours"]["fills"] == 3


def test_long_names_are_shortened_beside_bars_and_no_emoji_is_cut(page: Any) -> None:
    labels = [text for text in page.evaluate(SEEN, "long")["axis"] if "%" not in text]
    assert all(text.strip("\u2068\u2069").endswith("…") for text in labels)
    bare = [text.strip("\u2068\u2069").removesuffix("…") for text in labels]
    assert [len(text) for text in (bare[0], bare[4])] == [25, 12]
    assert bare[1] == FAMILY * (len(bare[1]) // len(FAMILY)) != ""
    assert bare[2] == BRAZIL * (len(bare[2]) // 2) != "" and bare[3] == "e\u0301" * (len(bare[3]) // 2) != ""
    assert labels[5][0] == "\u2068" and labels[5][-1] == "\u2069", "read from right to left, by itself"


@pytest.mark.parametrize(("name", "place"), [("halves", 2), ("halves_pt", 3)])
def test_the_figures_of_a_chart_are_rounded_as_in_tables(page: Any, name: str, place: int) -> None:
    wanted = [count[place] for count in sorted(HALVES, key=lambda count: count[1] / count[0])]
    assert [row[1] for row in _piece(name)["rows"]] == wanted, "the table behind"
    bars = page.query_selector_all(f"#{name} svg.wide .mark-rect.role-mark path")
    said = [bar.get_attribute("data-words").split(" · ")[1].split(" (")[0] for bar in bars]
    assert said == wanted, "the words at its marks, which tips show"
