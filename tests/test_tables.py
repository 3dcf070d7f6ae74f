"""Presentation tables: every rate with its parts, what is unknown with its reason, no text of a log as a tag."""

from datetime import UTC, datetime

import polars as pl
import pytest
from great_tables import GT
from markupsafe import Markup
from selectolax.lexbor import LexborHTMLParser

from tests.spec.golden import DELIVERY_ID, golden
from trackkit.analysis import curves, links
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.show import cells, tables
from trackkit.show.tables.web import attribution_table
from trackkit.show.wording import plain, short


def _cells(table: GT) -> list[list[str]]:
    page = _without_marks(table)
    return [[cell.text(separator=" ", strip=True) for cell in row.css("td")] for row in page.css("tbody tr")]


def _heads(table: GT) -> list[str]:
    return [node.text(strip=True) for node in _without_marks(table).css("thead th")]


def _without_marks(table: GT) -> LexborHTMLParser:
    """A table without the "?" beside the labels of metrics."""
    page = LexborHTMLParser(table.as_raw_html())
    for mark in page.css(".tk-what"):
        mark.decompose()
    return page


def test_every_rate_is_shown_over_its_parts() -> None:
    names = ["delivered", "unique_people_clicks", "total_clicks", "click_to_open_rate"]
    measured = measure(golden(), names, delivery=DELIVERY_ID)
    shown = tables.metric_table(measured, names, over="delivered", labels={"total_clicks": "All clicks"})
    assert _cells(shown) == [
        ["Success (without control addresses)", "4", ""],
        ["Distinct clicks for the population reached", "6", "150.0% 6 of 4"],
        ["All clicks", "15", "375.0% 15 of 4"],
        ["Raw reactivity", "", "66.7% 2 of 3"],
    ]
    assert _heads(shown) == ["Indicator", "Value", "Rate"]


def test_what_is_not_available_says_why() -> None:
    nothing = pl.DataFrame(
        {"delivered": [0], "unique_opens": [0], "open_rate": [None], "transactions": [None],
         "sales_amount": [None], "sales": [None], "average_transaction_amount": [None]},
        schema_overrides={"open_rate": pl.Float64},
    )  # fmt: skip
    names = ["open_rate", "transactions", "average_transaction_amount"]
    assert _cells(tables.metric_table(nothing, names)) == [
        ["Open rate (recipients)", "", "n/a Success (without control addresses) is 0"],
        ["Transactions", "n/a not in the data loaded", ""],
        ["Average transaction amount", "n/a not in the data loaded", ""],
    ]


def test_amounts_of_several_currencies_say_so() -> None:
    mixed = pl.DataFrame(
        {"transaction_amount": [None], "sales_amount": [None], "sales": [2], "average_transaction_amount": [None],
         "refunds": [0]}
    )  # fmt: skip
    names = ["transaction_amount", "average_transaction_amount"]
    assert _cells(tables.metric_table(mixed, names)) == [
        ["Total amount", "n/a in several currencies, which are not added"],
        ["Average transaction amount", "n/a in several currencies, which are not added"],
    ]


def test_domains_fold_into_others_and_the_total_is_its_own() -> None:
    by_domain = pl.DataFrame(
        {"domain": ["a.example", "b.example", None, "c.example"], "delivered": [10, 60, 5, 1],
         "open_rate": [0.5, 0.25, 0.0, 1.0], "unique_opens": [5, 15, 0, 1]}
    )  # fmt: skip
    folded = tables.largest(by_domain, "domain", 2)
    assert folded.rows() == [("b.example", 60, 0.25, 15), ("a.example", 10, 0.5, 5), ("Others", 6, 1 / 6, 1)]
    total = pl.DataFrame({"delivered": [76], "open_rate": [21 / 76], "unique_opens": [21]})
    shown = tables.breakdown_table(folded, "domain", ["delivered", "open_rate"], total)
    assert _cells(shown)[-2:] == [["Others", "6", "16.7% 1 of 6"], ["Total", "76", "27.6% 21 of 76"]]
    assert tables.largest(by_domain, "domain", 3)["domain"].to_list() == ["b.example", "a.example", None, "c.example"]


def test_people_of_the_others_do_not_add_up() -> None:
    by_link = pl.DataFrame({"domain": ["a", "b", "c", "d"], "delivered": [4, 3, 2, 1], "unique_people_clicks": [1] * 4})
    assert tables.largest(by_link, "domain", 2)["unique_people_clicks"].to_list() == [1, 1, None]


def test_no_link_clicked_is_a_sentence() -> None:
    none = links.link_clicks(golden(), DELIVERY_ID, hours=1e-9)
    assert "Nothing to list." in tables.link_table(none, ["rank", "link", "clicks"])._repr_html_()


def test_links_others_and_total() -> None:
    clicks = links.link_clicks(golden(), DELIVERY_ID, top=2)
    shown = _cells(tables.link_table(clicks, ["rank", "link", "clicks", "share"]))
    assert shown == [
        ["1", "Boutique", "6", "40.0% 6 of 15"],
        ["2", "Home", "5", "33.3% 5 of 15"],
        ["", "Others", "4", "26.7% 4 of 15"],
        ["", "Total", "15", "100.0% 15 of 15"],
    ]


def test_time_to_reach() -> None:
    shown = tables.share_table(curves.pareto(golden(), DELIVERY_ID, shares=[0.5, 0.9]))
    assert _heads(shown) == ["Share", "Sum of opens", "Cumulated clicks", "Transactions"]
    assert _cells(shown) == [["50%", "10 min", "10 min", "no event"], ["90%", "20 min", "10 min", "no event"]]


def test_a_log_is_shown_by_the_clock_of_its_zone() -> None:
    log = pl.DataFrame(
        {"occurred_at": [datetime(2026, 1, 1, 12, tzinfo=UTC), None], "label": ["Home", None], "n": [1, 2]}
    )
    shown = tables.log_table(log, labels={"label": "Link"}, timezone="America/Sao_Paulo")
    assert _heads(shown) == ["Occurred", "Link", "N"]
    assert _cells(shown) == [["2026-01-01 09:00:00", "Home", "1"], ["(unknown)", "", "2"]]


def test_a_log_says_nothing_twice_and_shortens_ids_of_browsers() -> None:
    person = "47104ffb-9f3e-4a7c-b9d3-2c1f64f0a001"
    log = pl.DataFrame({"label": ["Open", "Ink"], "type": ["Open", "Email click"], "person_id": [None, person]})
    table = tables.log_table(log)
    assert _cells(table) == [["", "Open", ""], ["Ink", "Email click", "47104ffb…"]]
    assert person in str(table._repr_mimebundle_()), "downloads have it whole"


def test_links_have_no_row_of_no_others_and_no_code_of_a_template() -> None:
    counts = {"row": ["link", "others", "total"], "link": ["Ink", "Others", "Total"], "clicks": [3, 0, 3]}
    assert len(_cells(tables.link_table(pl.DataFrame(counts), ["link", "clicks"]))) == 2
    links = pl.DataFrame({"url": ["https://a.example/?hello=<%= escapeUrl(recipient.firstName) %>"], "clicks": [1]})
    assert _cells(tables.link_table(links, ["url"])) == [["https://a.example/?hello=…"]]


def test_visits_that_all_follow_a_click_need_no_table() -> None:
    kinds = {"attribution": ["direct", "forced", "none"], "visits": [86, 0, 0], "total": 86, "share": [1.0, 0.0, 0.0]}
    outside = {"application_pages": [59, 0, 0], "outside": [None, 0, 758], "outside_total": 758}
    counts = pl.DataFrame(kinds | outside).with_columns(outside_share=pl.col("outside") / 758)
    sentence = LexborHTMLParser(attribution_table(counts)._repr_html_()).css_first("p").text()
    assert sentence == "758 pages of the site are tied to no delivery."
    assert attribution_table(counts.with_columns(outside=None))._repr_html_().count("<p") == 0
    later = counts.with_columns(visits=pl.Series([80, 6, 0]))
    assert [cells[1] for cells in _cells(attribution_table(later))] == ["80", "6", "0"]


@pytest.mark.parametrize("text", ["<script>x</script>", '"><img src=x onerror=x>', "'&<b>", "<!--", "{{7}}"])
def test_no_text_becomes_a_tag_wherever_it_stands(text: str) -> None:
    long = text * 40
    log = pl.DataFrame({"a": [text, long]})
    measured = pl.DataFrame({"domain": [text], "delivered": [1]})
    made = [
        tables.log_table(log, labels={"a": text}),
        tables.breakdown_table(measured, "domain", ["delivered"], labels={"delivered": text}),
        tables.metric_table(measured, ["delivered"], labels={"delivered": text}),
        tables.message(f"<p>{text}</p>", text),
    ]
    for piece in made:
        page = LexborHTMLParser(piece._repr_html_())
        assert not page.css("script, img, b:not(td > b)")
        assert not [node for node in page.css("*") for name in node.attributes if name.startswith("on")]
        assert text in page.html or text in page.text() or page.css("iframe")


def test_long_text_is_shortened_with_the_whole_on_hover() -> None:
    page = LexborHTMLParser(str(short("start " + "x" * 500 + " end")))
    span = page.css_first("span")
    assert span.text().startswith("start ") and span.text().endswith(" end") and len(span.text()) == 80
    assert span.attributes["title"] == "start " + "x" * 500 + " end"


def test_what_misleads_or_identifies_is_taken_out() -> None:
    assert plain("a\u202eb\u0000c\u2066d\u2028e") == "a\ufffdb\ufffdc\ufffdd\ufffde"
    assert plain("👩‍👩‍👧 café e\u0301") == "👩‍👩‍👧 café e\u0301"
    assert plain("?to=jane.roe%40mail.example&x=a@b.example") == "?to=j***%40mail.example&x=a***@b.example"


def test_another_frame_is_refused_in_one_sentence() -> None:
    two = pl.DataFrame({"delivered": [1, 2]})
    with pytest.raises(RequestError, match="the frame has 2"):
        tables.metric_table(two, ["delivered"])
    with pytest.raises(RequestError, match=r"no column 'deliverd'\. Did you mean 'delivered'"):
        tables.log_table(two, ["deliverd"])


def test_the_same_figures_give_the_same_bytes() -> None:
    measured = pl.DataFrame({"delivered": [1]})
    first, second = (tables.metric_table(measured, ["delivered"]).as_raw_html() for _ in range(2))
    assert first == second


def test_cells_taken_whole_are_those_that_a_formatter_would_leave() -> None:
    rows = [{"a": Markup("<b>x</b>"), "b": "<i>&"}, {"a": "", "b": "2"}]
    shown = cells.presented(rows, {"a": "A", "b": "B"}, right=["b"])
    written = [(Markup.escape(row["a"]), Markup.escape(row["b"])) for row in rows]
    plainly = GT(
        pl.DataFrame(written, schema={"a": pl.String, "b": pl.String}, orient="row"), id=shown._options.table_id.value
    )
    plainly = plainly.cols_label(cases={"a": "A", "b": "B"}).fmt(lambda cell: cell).cols_align("left")
    plainly = plainly.cols_align("right", columns=["b"])
    plainly = plainly.tab_options(table_additional_css=cells.STYLE.strip().splitlines(), table_font_size="13px")
    assert shown.as_raw_html() == plainly.as_raw_html()
    assert shown.fmt(lambda cell: f"{cell}!", columns="b").as_raw_html().count("!</td>") == 2, "formats still count"
