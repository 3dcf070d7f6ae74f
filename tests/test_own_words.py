"""What an analyst says without Python: links and bold, limits, decimals, paragraphs under a condition, variants."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bs4 import BeautifulSoup

from tests.test_dossier import Folder
from tests.test_template import GOOD
from tests.test_tiles import Page
from trackkit import open_store, resources
from trackkit.errors import RequestError
from trackkit.report import render
from trackkit.report.checks import check, problems_of
from trackkit.report.conditions import conditions
from trackkit.report.headlines import headlines
from trackkit.report.prose import paragraphs
from trackkit.report.template import template
from trackkit.runs.dossier import Dossiers
from trackkit.runs.index import write_index
from trackkit.runs.leaves import leaves
from trackkit.show import charts, findings, logo, tables, tiles
from trackkit.show.theme import THEME, Logo, theme

Writes = Callable[[str, str], Path]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writes:
    """`words(report, text)`: the analyst's own template of a report, in a project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    (tmp_path / "reports_templates").mkdir()

    def write(report: str, text: str) -> Path:
        path = tmp_path / "reports_templates" / f"{report}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(report: str, path: Path, *said: str) -> None:
    """Rendering and checking refuse a template in the same words."""
    with pytest.raises(RequestError) as error:
        template(report)
    for part in (str(path), *said):
        assert part in str(error.value)
    assert str(error.value) in [str(problem) for problem in problems_of(report)]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Plain, it's <b>so</b>: 3 & 4", "Plain, it's <b>so</b>: 3 & 4"),  # escaped by the page
        ("**a *b***", "<strong>a <em>b</em></strong>"),
        ("<b>*x*</b> it's `c`", "&lt;b&gt;<em>x</em>&lt;/b&gt; it&#39;s `c`"),
        (r"\*not\*, nor snake_case", "*not*, nor snake_case"),
        ("3 * 4 * 5", "3 * 4 * 5"),
        (
            '[a](https://b.example/?c="&d=*)',
            '<a href="https://b.example/?c=%22&amp;d=*" rel="noopener noreferrer">a</a>',
        ),
        ("[us](mailto:us@b.example)", '<a href="mailto:us@b.example" rel="noopener noreferrer">us</a>'),
        ("[x](javascript:alert(1))", "x"),
        ("[x](data:text/html,y)", "x"),
        ("![x](https://b.example/y.png)", "x"),
    ],
)
def test_a_text_has_bold_emphasis_and_links_and_nothing_else(text: str, html: str) -> None:
    assert paragraphs(text) == [html]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x](javascript:alert(1))", "the link 'javascript:alert(1)' is not one: it starts with https://"),
        ("**[x](//b.example)**", "the link '//b.example' is not one"),
        ("[x](https:b)", "the link 'https:b' is not one"),
        ("![x](https://b.example/y.png)", "a text has no pictures"),
    ],
)
def test_another_link_or_a_picture_is_refused_where_it_stands(words: Writes, text: str, said: str) -> None:
    path = words("urls_and_click_streams", GOOD.replace('title = "Links"', f'title = "Links"\ntext = "{text}"'))
    refused("urls_and_click_streams", path, "section 'top_links'", "key 'text'", said)


# Of 1,000 delivered, 400 opened; at b.example 37 of 40 were delivered.
RATES = {"delivery_rate": 0.925, "delivered": 37, "to_deliver": 40, "open_rate": 0.4, "unique_opens": 15}


def test_a_rate_below_its_floor_is_marked_and_named() -> None:
    rows = pl.DataFrame([RATES | {"domain": "b.example"}, RATES | {"domain": "a.example", "delivery_rate": 1.0}])
    floors = {"delivery_rate": 0.95}
    for lang, mark, sentence in (
        ("en", "▼ below 95%", "Success rate (without control addresses): 92.5% at b.example, wanted at least 95%"),
        ("pt_BR", "▼ abaixo de 95%", "b.example; espera-se no mínimo 95%"),
    ):
        html = tables.breakdown_table(rows, "domain", ["delivery_rate"], lang=lang, floors=floors).as_raw_html()
        assert html.count(mark) == html.count('tk-over"') == 1
        found = findings.limits_kept(rows, "domain", None, lang, floors)
        assert found is not None and sentence in found.text
    kept = findings.limits_kept(rows, "domain", None, "en", {"delivery_rate": 0.9})
    assert kept is not None and kept.text == "No domain is beyond what is advised"
    chart = charts.rate_bars(rows, "domain", ["delivery_rate"], "en", floors=floors).to_dict()
    assert "▼ 92.5%" in str(chart) and "at least 95%" in str(chart)


def test_a_domain_below_a_floor_is_worth_a_look(words: Writes) -> None:
    shipped = (resources.shipped() / "reports_templates/overview.toml").read_text("utf-8")
    floor = '[[look]]\nmetric = "delivery_rate"\nfloor = 0.95\nbelow = "Only {rate} at {name} ({parts}), not {limit}"\n'
    measured = 'metrics = ["hard_bounce_rate", "soft_bounce_rate"'
    path = words("overview", shipped.replace('[[look]]\nmetric = "delivery_rate"\n', floor))
    refused("overview", path, "key 'look.floor'", "'delivery_rate' is not among the metrics of a section")
    own = path.read_text("utf-8").replace(measured, f'{measured}, "delivery_rate"')
    words("overview", own)
    rows = pl.DataFrame([RATES | {"domain": "b.example"}, RATES | {"domain": "few.example", "to_deliver": 20}])
    looked = tiles.look(Page(), rows)
    assert looked is not None and "Only 92.5% at b.example (37 of 40), not 95%" in str(looked.html)


@pytest.mark.parametrize(("decimals", "shown"), [(None, "92.5%"), (0, "93%"), (3, "92.500%")])
def test_a_section_chooses_its_decimals(decimals: int | None, shown: str) -> None:
    row = pl.DataFrame([RATES])
    assert f">{shown}<" in tables.metric_table(row, ["delivery_rate"], decimals=decimals).as_raw_html()
    rows = row.with_columns(domain=pl.lit("b.example"))
    html = tables.breakdown_table(rows, "domain", ["delivery_rate", "delivered"], decimals=decimals).as_raw_html()
    assert f">{shown}<" in html and ">37</td>" in html  # a count stays whole


@pytest.mark.parametrize(
    ("figures", "when", "holds"),
    [
        ({"open_rate": 0.09}, "open_rate < 0.1", True),
        ({"open_rate": 0.1}, "open_rate < 0.1", False),
        ({"open_rate": 0.1}, "open_rate <= 0.1", True),
        ({"open_rate": None}, "open_rate < 0.1", False),  # unknown
        ({"open_rate": 0.09, "delivered": 999}, "open_rate < 0.1 and delivered >= 1000", False),
        ({"open_rate": 0.09, "delivered": 1000}, "open_rate < 0.1 and delivered >= 1000", True),
    ],
)
def test_a_condition_holds_of_figures_that_are_known(figures: Any, when: str, holds: bool) -> None:
    assert all(each.holds(figures) for each in conditions(when)) is holds


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("open_rat < 0.1", "there is no metric 'open_rat'. Did you mean 'open_rate'"),
        ("open_rate < 10", "'open_rate' is a rate, which is a fraction: 10 % is 0.1, not 10"),
        ("open_rate = 0.1", "'open_rate = 0.1' is no condition: a condition is written 'open_rate < 0.1'"),
        ("__import__('os')", "is no condition"),
    ],
)
def test_another_condition_is_refused(words: Writes, when: str, said: str) -> None:
    note = f'title = "Links"\n[[section.note]]\nwhen = "{when}"\ntext = "So."'
    path = words("urls_and_click_streams", GOOD.replace('columns = ["rank", "link", "clicks"]\n', "").replace(
        'title = "Links"', f'columns = ["rank", "link", "clicks"]\n{note}'))  # fmt: skip
    refused("urls_and_click_streams", path, "section 'top_links'", "when", said)


def test_a_page_says_a_paragraph_only_under_its_condition(words: Writes, demo_store: Path, delivery: str) -> None:
    shipped = (resources.shipped() / "reports_templates/delivery_statistics.toml").read_text("utf-8")
    notes = (
        "floors = {hard_bounce_rate = 0.01}\ndecimals = 3\n"
        '[[section.note]]\nwhen = "delivery_rate > 0.01"\ntext = "This is *said*: [a **desk**](https://desk.example)."\n'
        '[[section.note]]\nwhen = "delivery_rate < 0.01"\ntext = "That one is not."\n[section.ceilings]'
    )
    own = shipped.replace("[section.ceilings]", notes, 1)
    path = words("delivery_statistics", own)
    assert [str(problem) for problem in problems_of("delivery_statistics")] == [], path
    for lang, mark in (("en", "▼ below 1%"), ("pt_BR", "▼ abaixo de 1%")):
        html = render("delivery_statistics", demo_store, path.parent, delivery, lang).read_text("utf-8")
        card = BeautifulSoup(html, "html.parser").select_one("#by_domain")
        assert card is not None and "That one is not" not in html
        assert 'This is <em>said</em>: <a href="https://desk.example"' in str(card)
        assert re.search(r"\d[.,]\d{3}%", card.get_text()) and mark in card.get_text()


def test_an_analyst_chooses_the_figures_of_the_index(words: Writes, demo_store: Path, delivery: str) -> None:
    path = words(
        "index", '[[tile]]\nmetric = "hard_bounce_rate"\n[[column]]\nmetric = "complaint_rate"\nlabel = "Complained"\n'
    )
    snapshot, folder = open_store(demo_store).snapshot(), Folder(path.parent / "out", {})
    folder.add("overview", delivery)
    dossiers = Dossiers(snapshot, folder.path, leaves(folder.path, folder.entries))
    for lang, name, head in (("en", "Hard-bounce rate", "Complained"), ("pt_BR", "Taxa", "Reclamou")):
        html = write_index(snapshot, dossiers, lang).read_text("utf-8")
        page = BeautifulSoup(html, "html.parser")
        heads = [cell.get_text(strip=True) for cell in page.select("thead .number")]
        rows = page.select("tbody tr")
        assert heads[1:] == [head] and len(page.select("tbody td.number")) == 2 * len(rows) > 0
        assert len(page.select(".tiles dt")) == 2 and name in page.select(".tiles dt")[1].get_text()
    path.write_text('tile = []\n[[column]]\nmetric = "complaint_rat"\n', "utf-8")
    with pytest.raises(RequestError, match=r"index.toml, key 'column.0.metric': .*Did you mean 'complaint_rate'"):
        headlines()
    path.write_text('tile = []\n[[column]]\nmetric = "sales_amount"\n', "utf-8")
    assert any("'sales_amount' is no rate" in str(problem) for problem in problems_of("bounces"))


VARIANT = """
[[variant]]
channel = "SMS"
title = "Text messages"

[[variant]]
typology = "{typology}"
channel = "e-mail"
title = "Newsletter"
sections = ["top_links"]
tiles = ["open_rate"]
titles = {{top_links = "Our links"}}
"""


def test_a_template_differs_by_kind_of_delivery(words: Writes, demo_store: Path, delivery: str) -> None:
    kinds = open_store(demo_store).scan("delivery").select("delivery_id", "typology_id", "message_type").collect()
    typology, message_type = kinds.filter(pl.col("delivery_id") == delivery).row(0)[1:]
    own = GOOD + VARIANT.format(typology=typology)
    assert message_type == 0 and typology
    path = words("urls_and_click_streams", own)
    assert problems_of("urls_and_click_streams") == []
    page = render("urls_and_click_streams", demo_store, path.parent, delivery).read_text("utf-8")
    assert "<title>" in page and " · Newsletter</title>" in page and ">Our links</" in page
    assert 'id="figures"' not in page and 'id="top_links"' in page
    shown = template("urls_and_click_streams")
    assert shown.of_kind(typology, 1).title == "Text messages" and shown.of_kind("another", 0) is shown
    assert [tile.metric for tile in shown.of_kind(typology, 0).tile] == ["open_rate"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('channel = "SMS"', 'channel = "SMSs"', "there is no channel 'SMSs'. Did you mean 'SMS'"),
        ('channel = "SMS"\n', "", "a variant needs a `typology` or a `channel`"),
        ('"top_links"', '"top_link"', "there is no section 'top_link'. Did you mean 'top_links'"),
        ('"open_rate"', '"open_rat"', "there is no metric 'open_rat'. Did you mean 'open_rate'"),
        ("{{top", "{{tip", "there is no section 'tip_links'. Did you mean 'top_links'"),
    ],
)
def test_a_mistake_in_a_variant_is_named(words: Writes, before: str, after: str, said: str) -> None:
    path = words("urls_and_click_streams", GOOD + VARIANT.replace(before, after, 1).format(typology="3"))
    refused("urls_and_click_streams", path, "variant", said)


SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink">{}</svg>'


@pytest.mark.parametrize(
    ("file", "data", "said"),
    [
        ("logo.svg", SVG.format("<script>alert(1)</script>"), "has <script>"),
        ("logo.svg", SVG.format('<path onclick="alert(1)"/>'), "has onclick="),
        ("logo.svg", SVG.format('<use x:href="https://a.example/b.svg#c"/>'), "has href="),
        ("logo.svg", SVG.format('<rect fill="url(https://a.example)"/>'), "has fill="),
        ("logo.svg", SVG.format("<style>@import 'a'</style>"), "has a style"),
        ("logo.svg", "<!DOCTYPE svg [<!ENTITY a 'b'>]>" + SVG.format("&a;"), "has a document type"),
        ("logo.svg", "<html/>", "is not an SVG"),
        ("logo.svg", SVG.format("x" * 50_000), "bytes: it stands in every page, so at most 50,000"),
        ("logo.png", "<svg/>", "is not a PNG"),
    ],
)
def test_a_logo_is_a_small_picture_and_nothing_else(words: Writes, file: str, data: str, said: str) -> None:
    html = words("index", "").parent / "html"
    html.mkdir()
    (html / file).write_text(data, "utf-8")
    marked = theme().model_copy(update={"logo": Logo(file=file, words="us")})
    with pytest.raises(RequestError) as error:
        logo.logo(marked)
    assert said in str(error.value) and file in str(error.value)


def test_a_company_has_pages_that_look_like_its_own(
    monkeypatch: pytest.MonkeyPatch, demo_store: Path, delivery: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRACKKIT_PROJECT", str(Path(__file__).resolve().parents[1] / "examples" / "corporate"))
    assert problems_of("delivery_statistics") == []
    page = BeautifulSoup(
        render("delivery_statistics", demo_store, tmp_path, delivery).read_text("utf-8"), "html.parser"
    )
    mark, desk = page.select_one("header > img.logo"), page.select_one('a[href^="mailto:"]')
    assert mark is not None and mark["alt"] == "Northwind" and str(mark["src"]).startswith("data:image/svg+xml;base64,")
    assert desk is not None and desk.get_text() == "mail desk" and "Did it arrive?" in str(page.title)
    assert "--page: #f3ead9" in str(page.style) and [each["id"] for each in page.select("section")][1:] == ["by_domain"]


def test_labels_of_a_section_head_its_card_and_its_chart_too() -> None:
    rates = {"open_rate": [0.4, 0.41, 0.05], "unique_opens": [40, 41, 5], "delivered": [100] * 3}
    rows = pl.DataFrame({"domain": ["x.example", "y.example", "z.example"], **rates})
    labels = {"open_rate": "Read it"}
    said = findings.outlier(rows, "domain", ["open_rate"], labels=labels)
    assert said and said.text == "Read it: lowest at z.example, 5.0% (5 of 100)"
    beyond = findings.limits_kept(rows, "domain", None, "en", {"open_rate": 0.1}, labels)
    assert beyond and beyond.text == "Read it: 5.0% at z.example, wanted at least 10%"
    chart = charts.rate_bars(rows, "domain", ["open_rate"], labels=labels)
    assert "Read it" in str(chart.to_dict()) and "Open rate" not in str(chart.to_dict())


def test_a_label_of_what_a_section_does_not_show_is_refused(words: Writes) -> None:
    shipped = (resources.shipped() / "reports_templates/delivery_statistics.toml").read_text("utf-8")
    before, name, after = shipped.partition('name = "reactions"\n')
    words("delivery_statistics", f'{before}{name}labels = {{ opne_rate = "Read it" }}\n{after}')
    (problem,) = problems_of("delivery_statistics")
    assert "section 'reactions', key 'labels': 'opne_rate'" in str(problem) and "'open_rate'?" in str(problem)


def test_colours_that_are_hard_to_read_are_refused(words: Writes, tmp_path: Path) -> None:
    words("bounces", (resources.shipped() / "reports_templates/bounces.toml").read_text("utf-8"))
    pale = (resources.shipped() / THEME).read_text("utf-8").replace('ink = "#1b2228"', 'ink = "#bbbbbb"')
    (tmp_path / THEME).parent.mkdir()
    (tmp_path / THEME).write_text(pale, "utf-8")
    said = [str(problem) for problem in check() if "theme.toml" in str(problem)]
    # Of #bbbbbb the relative luminance is ((0xbb / 255 + 0.055) / 1.055) ** 2.4 = 0.497, of white 1: 1.05 / 0.547.
    assert any("key 'light.ink': it is hard to read on 'panel': a contrast of 1.9" in problem for problem in said)
    assert len(said) == 2, "on the page and on panels"
