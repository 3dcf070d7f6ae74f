"""Large figures, first sentences and what to look at: said by hand for deliveries in several situations."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bs4 import BeautifulSoup

from trackkit import resources
from trackkit.analysis.sending import PACE
from trackkit.analysis.usual import COLUMNS, TOO_FEW, UNFINISHED
from trackkit.errors import RequestError
from trackkit.report.template import Template, template
from trackkit.show.tiles import lead, look, row

NAMES = ("delivery_rate", "open_rate", "recipient_click_rate", "click_to_open_rate", "recipient_unsubscribe_rate")
USUAL = {"delivery_rate": 0.97, "open_rate": 0.36, "recipient_click_rate": 0.08, "click_to_open_rate": 0.22,
         "recipient_unsubscribe_rate": 0.006}  # fmt: skip


def figures(**changed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of 3,313 messages 3,206 delivered, 1,212 opened, 302 clicked, 29 opted out: a little more than usual of nine."""
    parts = {"delivery_rate": (3206, 3313), "open_rate": (1212, 3206), "recipient_click_rate": (302, 3206),
             "click_to_open_rate": (302, 1212), "recipient_unsubscribe_rate": (29, 3206)}  # fmt: skip
    rows = {}
    for name, (part, whole) in parts.items():
        median, value = USUAL[name], part / whole
        rows[name] = {"metric": name, "value": value, "part": part, "whole": whole, "n": 9, "median": median,
                      "lower": median * 0.98, "upper": median * 1.02, "difference": value - median,
                      "is_different": False, "recent": [median, median * 0.98, value]}  # fmt: skip
    rows |= {"sales_amount": {"metric": "sales_amount", "value": 1805.2, "n": 3, "reason": TOO_FEW, "recent": []},
             "sales": {"metric": "sales", "value": 40.0, "n": 3, "recent": []}}  # fmt: skip
    return {name: values | changed.get(name, {}) for name, values in rows.items()}


@dataclass
class Page:
    """What `open_page` gives, with figures made by hand."""

    rows: dict[str, dict[str, Any]] = field(default_factory=figures)
    lang: str = "en"
    timezone: str = "UTC"
    delivery: str | None = "7"
    currency: str = ""

    @property
    def template(self) -> Template:
        return template("overview", self.lang)

    def headline(self, metrics: Any) -> pl.DataFrame:
        empty = dict.fromkeys(COLUMNS)
        return pl.DataFrame([empty | self.rows.get(name, {"metric": name}) for name in metrics], schema=COLUMNS)

    def meant(self, metric: str) -> str:
        return metric


def pace(**facts: Any) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(PACE) | {"phase": "over", "to_deliver": 3313} | facts], schema=PACE)


def reached(clicks: int = 820, opens: int = 2000, minutes: int = 100) -> pl.DataFrame:
    after = [timedelta(minutes=minutes) if total else None for total in (opens, clicks)]
    return pl.DataFrame({"series": ["opens", "clicks"], "share": 0.5, "after": after, "total": [opens, clicks]})


def said(page: Page, state: pl.DataFrame | None = None, half: pl.DataFrame | None = None) -> str:
    block = lead(page, pace() if state is None else state, reached() if half is None else half)
    return BeautifulSoup(block.html, "html.parser").get_text().replace("\u00a0", " ")


HALF = "Half of the clicks came within 1 h 40 min."


def test_finished_and_as_usual_in_the_words_of_the_tiles() -> None:
    assert said(Page()) == f"38 of 100 opened and 9 clicked, as usual. {HALF}"
    assert said(Page(lang="pt_BR")) == (
        "Abriram 38 de 100 e clicaram 9, como de costume. Metade dos cliques veio em até 1 h 40 min."
    )


def level(name: str, value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "part": round(value * 3206), "difference": value - USUAL[name], **more}


@pytest.mark.parametrize(
    ("opened", "clicked", "words"),
    [
        (level("open_rate", 0.365), level("recipient_click_rate", 0.08), "37 of 100 opened and 8 clicked, as usual."),
        (level("open_rate", 0.34), level("recipient_click_rate", 0.07),
         "34 of 100 opened and 7 clicked, as usual."),
        (level("open_rate", 0.5, is_different=True), level("recipient_click_rate", 0.08),
         "50 of 100 opened, more than usual. 8 of 100 clicked, as usual."),
        (level("open_rate", 0.2, is_different=True), level("recipient_click_rate", 0.01, is_different=True),
         "20 of 100 opened and 10 of 1,000 clicked, less than usual."),
        (level("open_rate", 0.37), level("recipient_click_rate", 0.0),
         "37 of 100 opened, as usual. Nobody has clicked."),
    ],
)  # fmt: skip
def test_opens_and_clicks_are_compared_together_or_apart(
    opened: dict[str, Any], clicked: dict[str, Any], words: str
) -> None:
    assert said(Page(figures(open_rate=opened, recipient_click_rate=clicked)), half=reached(0, 0)) == words


FEW = {
    "n": 2,
    "median": None,
    "lower": None,
    "upper": None,
    "difference": None,
    "is_different": None,
    "reason": TOO_FEW,
}


def test_the_first_delivery_ever_is_compared_with_none() -> None:
    page = Page(figures(**dict.fromkeys(NAMES, FEW | {"n": 0})))
    assert (
        said(page) == f"38 of 100 opened and 9 clicked. {HALF} Too few deliveries of its kind to say what is usual: 0."
    )


def test_few_messages_are_counted_and_not_made_a_share_of_a_hundred() -> None:
    few = figures(
        open_rate={"part": 12, "whole": 53, "value": 12 / 53},
        recipient_click_rate={"part": 3, "whole": 53, "value": 3 / 53},
    )
    assert said(Page(few)) == f"12 of 53 opened and 3 clicked, as usual. {HALF}"


def test_a_running_delivery_says_how_far_it_is_and_that_figures_change() -> None:
    so_far = {"is_different": None, "reason": UNFINISHED}
    page = Page(figures(**dict.fromkeys(NAMES, so_far)))
    state = {"phase": "running", "processed": 1743, "to_deliver": 3101}
    start = "It is still being sent: 1,743 of 3,101 messages are out (56.2%)"
    end = datetime(2026, 11, 15, 20, 30, tzinfo=UTC)
    assert said(page, pace(**state)) == f"{start}. The figures will change. 38 of 100 opened and 9 clicked."
    assert said(page, pace(**state, ends_at=end)).startswith(
        f"{start}, the last about Sun, 2026-11-15 20:30 at this pace."
    )
    facts = state | {"pending": 1358, "last_at": datetime(2026, 11, 15, 17, 31, tzinfo=UTC), "outlook": "overdue"}
    assert said(page, pace(**facts, validity_at=datetime(2026, 11, 20, 17, tzinfo=UTC))) == (
        "38 of 100 opened and 9 clicked. Nothing has gone out since Sun, 2026-11-15 17:31: 1,358 of 3,101 are pending."
    )
    paused = said(page, pace(**state | {"phase": "paused"}))
    assert paused.startswith("Sending is paused: 1,743 of 3,101 messages are out (56.2%). 38 of 100")


def test_not_sent_and_nobody_yet() -> None:
    assert said(Page(), pace(phase="not started")) == "Nothing has been sent yet."
    nobody = figures(open_rate={"part": 0, "value": 0.0}, recipient_click_rate={"part": 0, "value": 0.0})
    assert said(Page(nobody), half=reached(0, 0)) == "Nobody has opened it yet: 3,206 messages are delivered."


def test_what_cannot_be_seen_is_said_with_its_reason_once() -> None:
    text = {"value": None, "part": None, "why": "only text was sent: its opens cannot be seen"}
    assert said(Page(figures(open_rate=text))) == (
        "Opens are unknown (only text was sent: its opens cannot be seen). 9 of 100 clicked, as usual. " + HALF
    )
    silent = {"value": None, "part": None, "why": "this channel does not tell it"}
    both = Page(figures(open_rate=silent, recipient_click_rate=silent))
    assert said(both, half=reached(0, 0)) == "Opens and clicks are unknown (this channel does not tell it)."
    nothing = dict.fromkeys(("value", "part", "whole", "difference", "median"))
    assert said(Page(figures(**dict.fromkeys(NAMES, nothing))), half=reached(0, 0)) == ""


# ---- tiles ----


def tiles(page: Page) -> dict[str, list[str]]:
    shown = BeautifulSoup(row(page).html, "html.parser").select("li.tk-tile")
    parts = ("strong", ".tk-of", ".tk-usual")
    return {
        each.select_one(".tk-name").get_text(" ", strip=True).removesuffix(" ?"): [
            each.select_one(part).get_text() for part in parts
        ]  # type: ignore[union-attr]
        for each in shown
    }


def test_six_tiles_with_parts_and_what_is_usual() -> None:
    assert tiles(Page()) == {
        "Delivered": ["96.8%", "3,206 of 3,313", "As usual: −0.2 points (median of 9)"],
        "Opened": ["37.8%", "1,212 of 3,206", "As usual: +1.8 points (median of 9)"],
        "Clicked": ["9.4%", "302 of 3,206", "As usual: +1.4 points (median of 9)"],
        "Clicked of opened": ["24.9%", "302 of 1,212", "As usual: +2.9 points (median of 9)"],
        "Opted out": ["0.9%", "29 of 3,206", "As usual: +0.3 points (median of 9)"],
        "Sales": ["1,805", "40 sales", "Too few to compare: 3"],
    }
    assert tiles(Page(currency="EUR"))["Sales"][1] == "EUR · 40 sales"


@pytest.mark.parametrize(
    ("name", "more", "words", "kind"),
    [
        ("open_rate", {"is_different": True}, "▲ 1.8 points better than usual (median of 9)", "tk-good"),
        ("open_rate", {"is_different": True, "difference": -0.02},
         "▼ 2.0 points worse than usual (median of 9)", "tk-bad"),
        ("recipient_unsubscribe_rate", {"is_different": True}, "▲ 0.3 points worse than usual (median of 9)", "tk-bad"),
        ("recipient_unsubscribe_rate", {"is_different": True, "difference": -0.0004},
         "▼ 0.04 points better than usual (median of 9)", "tk-good"),
        ("open_rate", {"is_different": None, "reason": UNFINISHED},
         "Compared when it is over", None),
        ("open_rate", FEW, "Too few to compare: 2", None),
        ("delivery_rate", FEW, "", None),  # the first sentences have said it
        ("sales_amount", {"n": 9, "median": 1000.0, "difference": 0.8052, "is_different": True, "reason": None},
         "▲ 81% better than usual (median of 9)", "tk-good"),
        ("sales_amount", {"n": 9, "median": 0.0, "reason": None}, "None is usual (median of 9)", None),
    ],
)  # fmt: skip
def test_a_difference_in_words_and_never_by_colour_alone(
    name: str, more: dict[str, Any], words: str, kind: str | None
) -> None:
    page = BeautifulSoup(row(Page(figures(**{name: more}))).html, "html.parser")
    place = [*NAMES, "sales_amount"].index(name)
    usual = page.select(".tk-usual")[place]
    assert usual.get_text() == words and [each for each in usual["class"] if each != "tk-usual"] == (
        [kind] if kind else []
    )


def test_unknown_figures_say_why() -> None:
    unknown = {"value": None, "part": None, "difference": None, "recent": []}
    page = Page(figures(
        open_rate=unknown | {"why": "only text was sent: its opens cannot be seen"},
        click_to_open_rate=unknown | {"whole": 0},
        recipient_click_rate=unknown | {"whole": None},
        sales_amount={"value": None},
    ))  # fmt: skip
    shown = tiles(page)
    assert shown["Opened"] == ["n/a", "only text was sent: its opens cannot be seen", ""]
    assert shown["Clicked of opened"] == ["n/a", "Opens (recipients) is 0", ""]
    assert shown["Clicked"] == ["n/a", "not in the data loaded", ""]
    assert shown["Sales"] == ["n/a", "in several currencies, which are not added", ""]
    assert (
        tiles(Page(figures(sales_amount={"value": None, "why": "no purchase is tracked"})))["Sales"][1]
        == "no purchase is tracked"
    )


def test_the_line_of_the_last_twelve_is_a_picture_with_a_sentence() -> None:
    page = BeautifulSoup(row(Page(figures(open_rate={"recent": [0.3, 0.4, 0.35]}))).html, "html.parser")
    drawn = page.select("li.tk-tile")[1].select_one("svg")
    assert drawn is not None and drawn["role"] == "img"
    assert drawn["aria-label"] == "The last 3 of its kind: from 30.0% to 40.0%; this one: 37.8%."
    # 120 × 26 with an edge of 3: x 3, 60, 117; y from 23 (the least, 0.3) up to 3 (the most, 0.4).
    line, dot = drawn.select_one("polyline"), drawn.select_one("circle")
    assert line is not None and line["points"] == "3,23 60,3 117,13"
    assert dot is not None and (dot["cx"], dot["cy"]) == ("117", "13") and len(str(drawn)) < 400
    short = BeautifulSoup(row(Page(figures(open_rate={"recent": [0.3, 0.4]}))).html, "html.parser")
    assert short.select("li.tk-tile")[1].select_one("svg") is None
    few = BeautifulSoup(row(Page(figures(open_rate=FEW))).html, "html.parser")  # no line without what is usual
    assert [bool(tile.select_one("svg")) for tile in few.select("li.tk-tile")] == [True, False, True, True, True, False]


@pytest.mark.parametrize("last", [0.30, 0.37, 0.45])
def test_what_is_as_usual_stands_in_the_band_and_what_is_not_stands_outside(last: float) -> None:
    # quartiles 0.35 and 0.37: fences at 0.32 and 0.40; of 3,206 cases chance reaches 0.025 from 0.36
    changed = {"value": last, "lower": 0.35, "upper": 0.37, "recent": [0.25, 0.5, last]}
    page = BeautifulSoup(row(Page(figures(open_rate=changed))).html, "html.parser")
    drawn = page.select("li.tk-tile")[1]
    band, dot = drawn.select_one("rect"), drawn.select_one("circle")
    assert band is not None and dot is not None
    top, height, at = (float(str(each)) for each in (band["y"], band["height"], dot["cy"]))
    assert (top <= at <= top + height) is (0.32 <= last <= 0.40)


def test_totals_have_no_usual() -> None:
    page = Page(figures(**dict.fromkeys([*NAMES, "sales_amount"], FEW | {"n": None, "recent": None, "reason": None})))
    assert {usual for _, _, usual in tiles(page).values()} == {""}


# ---- what to look at ----


def bounces(*rows: tuple[str | None, int, int]) -> pl.DataFrame:
    schema = {"domain": pl.String, "hard_bounces": pl.Int64, "processed": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        hard_bounce_rate=pl.col("hard_bounces") / pl.col("processed")
    )


def facts(page: Page, by_domain: pl.DataFrame) -> list[tuple[str, str]]:
    block = look(page, by_domain)
    links = BeautifulSoup(block.html if block else "", "html.parser").select("a")
    return [(link["data-report"], link.get_text()) for link in links]  # type: ignore[misc]


def test_above_what_is_advised_names_the_worst_domain() -> None:
    few = [("small.example", 2, 40), ("b.example", 9, 29), (None, 90, 100)]
    rows = bounces(("courriel.example", 13, 485), ("post.example", 9, 299), *few)
    assert facts(Page(), rows) == [("bounces", "Hard bounces at post.example: 3.0% (9 of 299), advised below 2%")]
    assert look(Page(), bounces(("post.example", 4, 299))) is None


def test_three_facts_at_most_what_is_advised_and_what_is_worse_first() -> None:
    unlike = {"is_different": True}
    page = Page(
        figures(
            open_rate=unlike, recipient_click_rate=unlike | {"difference": -0.05}, recipient_unsubscribe_rate=unlike
        )
    )
    assert facts(page, bounces(("a.example", 9, 100))) == [
        ("bounces", "Hard bounces at a.example: 9.0% (9 of 100), advised below 2%"),
        ("urls_and_click_streams", "Fewer clicked than usual: 9.4% (302 of 3,206), usual is 8.0%"),
        ("tracking_indicators", "More opted out than usual: 0.9% (29 of 3,206), usual is 0.6%"),
    ]
    assert facts(Page(figures(open_rate=unlike)), bounces()) == [
        ("tracking_indicators", "More opened than usual: 37.8% (1,212 of 3,206), usual is 36.0%")
    ]


def test_a_hostile_domain_is_text() -> None:
    block = look(Page(), bounces(("<script>x</script>" + "y" * 90, 9, 100)))
    assert block is not None and "<script>" not in block.html and "…" in block.html


# ---- the grammar ----

GOOD = """title = "Overview"
[lead]
nobody = "Nobody: {count}."
[[tile]]
metric = "open_rate"
[[look]]
metric = "open_rate"
report = "bounces"
higher = "More: {rate}"
[[section]]
name = "headline"
title = "Figures"
"""


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("{count}", "{counts}", ["lead.nobody", "no placeholder 'counts'", "Did you mean 'count'"]),
        ("Nobody: {count}.", "Nobody: {", ["lead.nobody", "no placeholder"]),
        ("nobody =", "nobodi =", ["lead.nobodi", "no such key", "Did you mean 'nobody'"]),
        ("{rate}", "{rates}", ["look.0.higher", "Did you mean 'rate'"]),
        ('report = "bounces"', 'report = "bouncs"', ["look.0.report", "Did you mean 'bounces'"]),
        ('[[tile]]\nmetric = "open_rate"', '[[tile]]\nmetric = "open_rat"', ["tile.0.metric", "mean 'open_rate'"]),
        ('[[tile]]\n', '[[tile]]\ngood = "up"\n', ["tile.0.good", "'up' is not known"]),
        ("[lead]\n", "[lead]\nboth.mor = 'x'\n", ["lead.both.mor", "Did you mean 'more'"]),
        ("[lead]\n", "[lead]\nboth.more = '{part}'\n", ["lead.both.more", "'part'", "Known: clicked, opened"]),
        ('name = "headline"', 'name = "headlines"', ["'headlines'", "Did you mean 'headline'"]),
    ],
)  # fmt: skip
def test_a_mistake_in_the_first_sentences_is_named_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    path = tmp_path / "reports_templates" / "overview.toml"
    path.parent.mkdir()
    path.write_text(GOOD, "utf-8")
    assert template("overview").tile[0].metric == "open_rate"
    assert before in GOOD
    path.write_text(GOOD.replace(before, after, 1), "utf-8")
    with pytest.raises(RequestError) as refused:
        template("overview")
    for part in [str(path), *words]:
        assert part in str(refused.value)


def test_the_shipped_template_words_every_sentence() -> None:
    """Each level of what is usual has one, in both languages."""
    for lang in ("en", "pt_BR"):
        words = template("overview", lang).lead
        assert None not in [value for part in (words, words.both, words.opened, words.clicked) for _, value in part]
    assert resources.find("reports_templates/overview.toml")
