"""Findings: what is said of figures, and where nothing is: few cases, chance, ties, hostile names."""

from datetime import UTC, date, datetime, timedelta

import nbformat
import polars as pl
import pytest

from trackkit.report.html_page import _section
from trackkit.report.template import Section
from trackkit.show.findings import (
    Finding,
    above,
    above_average,
    acts_counted,
    brought_most,
    busiest,
    busiest_hour,
    busiest_start,
    by_people,
    clicked_most,
    clicked_of_reacted,
    clicked_times,
    counted_of,
    fails_most,
    fastest,
    fastest_half,
    first_day,
    first_days,
    grown,
    half_of_acts,
    highest,
    in_message,
    invalid_addresses,
    joined_lately,
    largest,
    largest_loss,
    last_share,
    left_by_rules,
    left_from,
    left_out,
    limits_kept,
    listed,
    loses_most,
    lowest,
    most_clicked,
    most_shared_in,
    most_shared_on,
    most_tagged,
    most_used,
    of_all_links,
    on_mobiles,
    opened_between,
    opened_of,
    opted_out,
    opted_out_by_people,
    outcome,
    outlier,
    outside_message,
    pages_and_sales,
    reached_by_age,
    refused,
    sent_within,
    shown_of,
    strongest_in_message,
    strongest_link,
    tied_by,
    together,
    unlike_before,
)
from trackkit.show.findings.finding import MIME
from trackkit.show.theme import theme


def by_domain(*groups: tuple[str | None, int, int]) -> pl.DataFrame:
    """A frame of `measure` by domain: name, opens, delivered."""
    rows = pl.DataFrame(
        groups, schema={"domain": pl.String, "unique_opens": pl.Int64, "delivered": pl.Int64}, orient="row"
    )
    return rows.with_columns(open_rate=pl.col("unique_opens") / pl.col("delivered"))


def text(finding: Finding | None) -> str | None:
    return finding and finding.text


def test_the_group_that_differs_is_named_with_its_counts_at_hand() -> None:
    rows = by_domain(("a.example", 40, 100), ("b.example", 42, 100), ("c.example", 5, 100))
    assert text(lowest(rows, "domain", "open_rate")) == "c.example opens least: 5.0% (5 of 100)"
    assert text(lowest(rows, "domain", "open_rate", "pt_BR")) == "c.example é quem menos abre: 5,0% (5 de 100)"
    # 42 is 2 above the median of 40, where one standard error is 4.9.
    assert highest(rows, "domain", "open_rate") is None


@pytest.mark.parametrize(
    ("opens", "is_lower"),
    [(15, True), (16, False)],  # 3 × sqrt((0.3 × 0.7 + 0.01) / 100) = 0.1407, so below 15.93 of 100
)
def test_three_standard_errors_are_more_than_chance(opens: int, is_lower: bool) -> None:
    rows = by_domain(("a.example", 30, 100), ("b.example", 30, 100), ("c.example", opens, 100))
    assert (lowest(rows, "domain", "open_rate") is not None) == is_lower


def test_two_cases_where_others_have_none_are_chance() -> None:
    rows = by_domain(("a.example", 0, 40), ("b.example", 0, 40), ("c.example", 2, 40), ("d.example", 0, 40))
    assert highest(rows, "domain", "open_rate") is None
    rows = by_domain(("a.example", 0, 40), ("b.example", 0, 40), ("c.example", 4, 40), ("d.example", 0, 40))
    assert text(highest(rows, "domain", "open_rate")) == "c.example opens most: 10.0% (4 of 40)"


def test_small_unnamed_and_added_groups_say_nothing() -> None:
    large = (("a.example", 40, 100), ("b.example", 40, 100), ("c.example", 40, 100))
    for group in (("d.example", 0, 29), (None, 0, 100), ("Others", 0, 100)):
        assert lowest(by_domain(*large, group), "domain", "open_rate") is None
    total = by_domain(*large, ("d.example", 0, 100)).with_columns(row=pl.Series(["group"] * 3 + ["total"]))
    assert lowest(total, "domain", "open_rate") is None


def test_a_shared_last_place_and_two_groups_name_nobody() -> None:
    rows = by_domain(("a.example", 40, 100), ("b.example", 5, 100), ("c.example", 40, 100), ("d.example", 5, 100))
    assert lowest(rows, "domain", "open_rate") is None
    assert lowest(by_domain(("a.example", 40, 100), ("b.example", 5, 100)), "domain", "open_rate") is None


def test_a_metric_without_a_sentence_of_its_own_is_named_by_its_label() -> None:
    rows = by_domain(("a", 90, 100), ("b", 90, 100), ("c", 50, 100)).rename(
        {"unique_opens": "delivered_with_seeds", "delivered": "processed", "open_rate": "acceptance_rate"}
    )
    label = "Delivered rate (with control addresses)"
    swapped = rows.with_columns(acceptance_rate=1 - pl.col("acceptance_rate"))
    assert text(highest(swapped, "domain", "acceptance_rate")) == f"{label}: highest at c, 50.0% (50 of 100)"


def test_what_is_above_the_advice_is_counted() -> None:
    def rows(*bounces: int) -> pl.DataFrame:
        names = ["a.example", "b.example", "c.example"][: len(bounces)]
        return pl.DataFrame({"domain": names, "hard_bounces": bounces, "processed": 100}).with_columns(
            hard_bounce_rate=pl.col("hard_bounces") / 100
        )

    said = [text(above(rows(*bounces), "domain", "hard_bounce_rate", 0.02)) for bounces in ((2, 1), (3, 1), (3, 4, 9))]
    assert said == [
        "Hard-bounce rate: nowhere above the advised 2%",
        "Hard-bounce rate: 3.0% at a.example, advised at most 2%",
        "Hard-bounce rate: 9.0% at c.example and 2 more above the advised 2%",
    ]
    assert above(rows().clear(), "domain", "hard_bounce_rate", 0.02) is None


def test_half_of_a_series() -> None:
    rows = pl.DataFrame(
        {"series": ["opens", "clicks", "transactions"], "share": 0.5, "total": [30, 29, 0],
         "after": [timedelta(minutes=100), timedelta(minutes=20), None]}
    )  # fmt: skip
    assert text(fastest_half(rows, "opens")) == "Half of the opens came within 1 h 40 min"
    running = pl.DataFrame({"phase": ["running"]})
    assert text(fastest_half(rows, "opens", "en", running)) == "Half of the opens so far came within 1 h 40 min"
    assert fastest_half(rows, "clicks") is None and fastest_half(rows, "transactions") is None


def links(*clicks: tuple[str, int]) -> pl.DataFrame:
    named = pl.DataFrame(clicks, schema={"link": pl.String, "clicks": pl.Int64}, orient="row")
    total = sum(count for _, count in clicks)
    return named.with_columns(row=pl.lit("link"), total=pl.lit(total))


def test_the_most_clicked_of_all_links() -> None:
    assert text(most_clicked(links(("a", 20), ("b", 12)))) == "“a” took 62.5% of all clicks (20 of 32)"
    tracked = pl.DataFrame({"label": ["a", None], "url": ["x", "y"], "clicks": [12, 20], "total": 32})
    assert text(most_clicked(tracked)) == "“y” took 62.5% of all clicks (20 of 32)"


def test_the_strongest_link_and_ties() -> None:
    assert text(strongest_link(links(("a", 20), ("b", 12)))) == "“a” took 62.5% of the clicks (20 of 32)"
    assert text(strongest_link(links(("a", 20), ("b", 20), ("c", 1)))) == "“a” and “b” took 48.8% of the clicks each"
    assert strongest_link(links(("a", 20), ("b", 20), ("c", 20))) is None
    assert strongest_link(links(("a", 29))) is None and strongest_link(links()) is None


def test_names_of_a_log_are_clipped_and_plain() -> None:
    said = text(strongest_link(links(("<b>" + "x" * 90 + "\u202e", 40)))) or ""
    assert said == "“<b>" + "x" * 56 + "…” took 100.0% of the clicks (40 of 40)"


def page_section(outputs: list[dict[str, object]], **options: object) -> dict[str, object]:
    shown = [nbformat.v4.new_output("display_data", data=data) for data in outputs]
    cell = nbformat.v4.new_code_cell("", outputs=shown, metadata={"tags": ["section:links"]})
    words = Section.model_validate({"name": "links", "title": "Links"} | options)
    return _section(words, nbformat.v4.new_notebook(cells=[cell]), theme(), 1, "en")


def test_a_page_gets_the_finding_and_no_piece_of_it() -> None:
    table: dict[str, object] = {"text/html": "<table></table>"}
    outputs = [dict(Finding("a <b>")._repr_mimebundle_()), table, {"text/plain": "None"}]
    section = page_section(outputs)
    assert section["findings"] == ["a <b>"] and [piece["id"] for piece in section["pieces"]] == ["s1-2"]  # type: ignore[attr-defined]
    assert page_section(outputs, finding=False)["findings"] == [] == page_section([table])["findings"]
    assert page_section([{MIME: {"text": "x"}}], show=["table"])["findings"] == ["x"]
    assert page_section([table], folded=True)["folded"] is True and page_section([table])["folded"] is False


def test_what_took_most_and_ties() -> None:
    columns = {"text": ["Title", "Button"], "clicks": [30, 10], "message_clicks": 40}
    assert (
        text(strongest_in_message(pl.DataFrame(columns)))
        == "“Title” took 75.0% of the clicks in the message (30 of 40)"
    )
    assert strongest_in_message(pl.DataFrame(columns | {"clicks": [20, 20]})) is None
    assert strongest_in_message(pl.DataFrame(columns | {"clicks": [3, 1], "message_clicks": 4})) is None
    browsers = {"row": ["group", "group", "total"], "name": ["A", "B", None], "visitors": [60, 40, 100], "total": 100}
    assert text(most_used(pl.DataFrame(browsers))) == "A is used most: 60.0% of visitors (60 of 100)"
    assert most_used(pl.DataFrame(browsers | {"name": [None, "B", None]})) is None


def test_the_busiest_hour_of_the_week() -> None:
    rows = {"weekday": [0, 6], "hour": [9, 17], "series": "clicks", "count": [10, 30], "total": 40}
    assert (
        text(busiest_hour(pl.DataFrame(rows), "clicks"))
        == "The busiest hour for clicks is Sunday 17:00: 75.0% (30 of 40)"
    )
    assert busiest_hour(pl.DataFrame(rows), "opens") is None
    assert busiest_hour(pl.DataFrame(rows | {"count": [20, 20]}), "clicks") is None


def test_a_service_grew_or_shrank() -> None:
    row = {"service": ["News"], "period": "6 months", "joined": 12, "left": 2, "change": 10, "subscribers": 110}
    assert (
        text(grown(pl.DataFrame(row), "6 months"))
        == "News grew by 10 to 110 subscribers in 6 months: 12 joined, 2 left"
    )
    shrunk = row | {"joined": 0, "change": -2, "subscribers": 98}
    assert (
        text(grown(pl.DataFrame(shrunk), "6 months")) == "News lost 2 to 98 subscribers in 6 months: 0 joined, 2 left"
    )
    assert grown(pl.DataFrame(row), "24H") is None
    assert grown(pl.DataFrame(row | {"joined": 0, "left": 0, "change": 0}), "6 months") is None


def test_which_service_loses_most() -> None:
    services = {"service": ["News", "Offers"], "period": "1 month", "subscribers": [980, 170], "joined": [20, 0]}
    losses = {"left": [20, 30], "change": [0, -30], "everybody": [1000, 200], "loss_rate": [0.02, 0.15]}
    progress = pl.DataFrame(services | losses)
    assert text(loses_most(progress, "1 month")) == "Offers loses most: 15.0% left in 1 month (30 of 200)"
    few = progress.with_columns(left=pl.Series([20, 5]), loss_rate=pl.Series([0.02, 0.025]))
    grew = "News grew by 0 to 980 subscribers in 1 month: 20 joined, 20 left"
    assert text(loses_most(few, "1 month")) == grew == text(loses_most(progress[:1], "1 month"))
    assert loses_most(progress, "24H") is None


def test_who_joined_and_left_lately() -> None:
    starts = [date(2026, 8, 3) + timedelta(weeks=nth) for nth in range(10)]
    joined = pl.DataFrame({"series": "subscriptions", "starts_on": starts, "count": range(1, 11)})
    left = pl.DataFrame({"series": "unsubscriptions", "starts_on": starts[-2:], "count": [1, 7]})
    weeks = pl.concat([joined, left]).with_columns(is_whole=pl.col("starts_on") < starts[-1])
    # the last week is not whole: 6 + 7 + 8 + 9 joined and 1 left, after 2 + 3 + 4 + 5 and none
    assert text(joined_lately(weeks)) == "Last 4 weeks: 30 joined and 1 left; the 4 before: 14 and 0"
    assert joined_lately(weeks.filter(pl.col("starts_on") > starts[1])) is None


def test_which_deliveries_people_left_from() -> None:
    rows = pl.DataFrame({"delivery": [None, "A", "B", "C"], "unsubscriptions": [6, 2, 1, 1], "total": 10})
    assert text(left_from(rows)) == "4 of 10 departures name a delivery; most name “A” (2)"
    two = rows.with_columns(unsubscriptions=pl.Series([5, 2, 2, 1]))
    assert text(left_from(two)) == "5 of 10 departures name a delivery; most name “A” and “B” (2 each)"
    tied = rows.with_columns(unsubscriptions=pl.Series([7, 1, 1, 1]))
    assert text(left_from(tied)) == "3 of 10 departures name a delivery"
    assert left_from(rows[:1]) is None


def test_visits_choices_and_sources() -> None:
    sources = pl.DataFrame(
        {
            "found_by": ["nothing", "cookie", "cookie", None],
            "rank": [1, 2, 3, None],
            "source": [None, "A", "B", None],
            "visitors": [90, 20, 15, 5],
        }
    )
    said = "“A” brought most: 35 of the 40 visitors whose delivery is known"
    # 35 of 37 are more than chance beside 18.5; 20 of 35 are not
    ahead = sources.with_columns(visitors=pl.Series([90, 35, 2, 3]))
    assert text(brought_most(ahead)) == said and brought_most(sources[:2]) is None
    even = sources.with_columns(total=130, web_application=pl.lit("Quiz"), goal=pl.lit(None, pl.String))
    said = "Quiz: no delivery is clearly ahead; 90 of 130 visitors name none (69.2%)"
    assert text(brought_most(even)) == said
    choices = pl.DataFrame({"web_choice": ["allowed", "refused", "refused"], "visitors": [30, 5, 5]})
    assert text(refused(choices)) == "25.0% refused web tracking (10 of 40)" and refused(choices.clear()) is None
    assert text(refused(choices[:1])) == "No visitor of 30 refused web tracking"
    hours = pl.Series([datetime(2026, 11, 8, 17), datetime(2026, 11, 8, 23), datetime(2026, 11, 9)])
    activity = pl.DataFrame({"starts_at": hours, "count": [20, 10, 10]})
    assert text(first_day(activity)) == "75.0% of the pages were displayed on the first day (30 of 40)"
    assert first_day(activity[:1]) is None
    one_day = activity.with_columns(starts_at=pl.Series([datetime(2026, 11, 8, hour) for hour in (17, 18, 19)]))
    assert text(first_day(one_day)) == "Busiest hour so far: from 17:00, 50.0% of the pages (20 of 40)"


def test_how_much_came_on_the_busiest_day() -> None:
    hours = [datetime(2026, 11, 7, 9), *[datetime(2026, 11, 8, 17)] * 2, *[datetime(2026, 11, 9, 8)] * 2]
    series = ["clicks", "opens", "clicks", "opens", "clicks"]
    acts = pl.DataFrame({"starts_at": hours, "series": series, "count": [1, 60, 30, 20, 9]})  # 60 of 80, 30 of 40
    assert text(first_days(acts)) == "75.0% of the opens and 75.0% of the clicks came on Sun, 2026-11-08"
    assert first_days(acts[1:3]) is None and first_days(acts.filter(pl.col("series") == "opens")) is None
    assert first_days(acts.clear()) is None


def test_what_one_recipient_did() -> None:
    sent = pl.DataFrame({"recipient_id": ["7"] * 3, "opens": [2, 1, 0], "clicks": [1, 0, 0]})
    assert text(opened_of(sent)) == "Of 3 messages, 2 were opened and 1 clicked"
    assert opened_of(sent.with_columns(recipient_id=pl.Series(["7", "8", "9"]))) is None
    acts = pl.DataFrame({"act": ["sent", "opened", "opened"]})
    assert text(acts_counted(acts, {"opened": "Opened", "sent": "Sent"})) == "Opened 2 · Sent 1"
    assert acts_counted(acts.clear(), {}) is None


def test_pages_sales_and_paths() -> None:
    measured = pl.DataFrame({"web_visits": [448], "sales": [1], "sales_amount": [45.5]})
    assert text(pages_and_sales(measured)) == "448 pages displayed, 1 sale worth 45.50"
    assert text(pages_and_sales(measured, "en", "EUR")) == "448 pages displayed, 1 sale worth 45.50 EUR"
    assert pages_and_sales(measured.with_columns(sales_amount=None)) is None
    path = {"web_application": ["Quiz"], "goal": "won"}
    begun = pl.DataFrame(path | {"started": 40})
    begun = begun.with_columns(visitors=45, everyone=50)
    assert text(counted_of(begun)) == "Quiz · won: of 50 visitors, 45 are counted, of whom 40 began"
    assert counted_of(begun.with_columns(everyone=0)) is None and counted_of(begun.clear()) is None
    steps = {"web_application": "Quiz", "goal": None, "page": ["One", "Two", "Three"], "lost": [None, 10, 20]}
    lost = pl.DataFrame(steps | {"before": [None, 40, 30], "loss_rate": [None, 0.25, 2 / 3]})
    assert text(largest_loss(lost)) == "Most are lost before “Three” of Quiz: 66.7% (20 of 30)"
    more = lost.with_columns(lost=pl.Series([None, 130, 20]), before=pl.Series([None, 359, 30]))
    said = "Largest loss: 66.7% before “Three” of Quiz (20 of 30); most people: 130 of 359, before “Two” of Quiz"
    assert text(largest_loss(more.with_columns(loss_rate=pl.Series([None, 130 / 359, 2 / 3])))) == said


def test_sharing_and_deliveries_together() -> None:
    sharing = {"row": ["network", "network", "total"], "network": ["x", "y", None], "shares": [30, 10, 40]}
    named = most_shared_on(pl.DataFrame(sharing | {"total_shares": 40}), {"x": "X!"})
    assert text(named) == "Shared most by X!: 30 of 40 sharing activities (75.0%)"
    even = pl.DataFrame(sharing | {"total_shares": 43}).with_columns(shares=pl.Series([22, 21, 43]))
    said = "No network is clearly ahead: X! has 22 of 43 sharing activities (51.2%)"
    assert text(most_shared_on(even, {"x": "X!"})) == said
    days = [date(2026, 10, 1), date(2026, 11, 1), None]
    months = {"starts_on": days, "shares": [30, 10, 40], "is_whole": [True, True, None]}
    said = "Most was shared in October 2026: 75.0% of the sharing activities (30 of 40)"
    assert text(most_shared_in(pl.DataFrame(months))) == said
    assert most_shared_in(pl.DataFrame(months)[:1]) is None
    assert most_shared_in(pl.DataFrame(months | {"is_whole": [True, False, None]})) is None
    total = pl.DataFrame({"open_rate": [0.324], "recipient_click_rate": [0.08], "delivered": [500]})
    total = total.with_columns(delivery_id=pl.lit("7"))
    assert text(together(total, total)) == "1 delivery: 32.4% opened, 8.0% clicked"
    opened = {"open_rate": [0.3, None, 0.4, 0.1, 0.9, 0.2], "delivered": [100, 100, 100, 100, 29, 100]}
    rows = pl.DataFrame({"delivery_id": list("abcdef"), "delivery": list("ABCDEF")} | opened)
    # B's opens are unknown, E is small
    assert text(together(rows, total)) == "Opened most: “C”, 40.0%; least: “D”, 10.0%"
    assert text(together(rows, total, unfinished=["d"])) == (
        "Of what is finished, opened most: “C”, 40.0%; least: “F”, 20.0%"
    )
    assert together(total, total.with_columns(open_rate=None)) is None
    tied = rows.with_columns(open_rate=pl.Series([0.3998, None, 0.4, 0.1, 0.9, 0.2]), delivered=1000)
    # E opens 90.0 %; without it, A and C both read 40.0 %.
    assert text(together(tied, total, unfinished=["e"])) == (
        "Of what is finished, opened most: “C” and “A”, 40.0%; least: “D”, 10.0%"
    )
    clicked = rows.rename({"open_rate": "recipient_click_rate"})
    assert text(clicked_most(clicked)) == "Clicked most: “C”, 40.0%; least: “D”, 10.0%"
    assert clicked_most(clicked[:2]) is None


def test_the_largest_part_is_named_and_never_the_rest() -> None:
    names = {"row": ["group", "group", "others", "total"], "type": ["Refused", "Unreachable", "Others", None]}
    rows = pl.DataFrame(names | {"errors": [20, 11, 69, 100], "contribution_of": 100})
    assert text(largest(rows, "type", "errors", "contribution_of")) == "Refused: 20 of 100 errors (20.0%)"
    assert text(largest(rows, "type", "errors", "contribution_of", "pt_BR")) == "Recusado: 20 de 100 erros (20,0%)"
    tied = rows.with_columns(errors=pl.Series([20, 20, 60, 100]))
    few = rows.with_columns(contribution_of=29)
    assert largest(tied, "type", "errors", "contribution_of") is None
    assert largest(few, "type", "errors", "contribution_of") is None
    assert largest(rows.clear(), "type", "errors", "contribution_of") is None


def test_the_domain_that_fails_most_is_named_where_it_is_drawn_first() -> None:
    names = {"row": ["group"] * 4 + ["total"], "domain": ["a.example", "b.example", "c.example", "d.example", None]}
    counts = {"errors": [5, 5, 50, 1, 61], "breakdown_of": [500, 500, 500, 20, 1_520]}
    rows = pl.DataFrame(names | counts).with_columns(breakdown=pl.col("errors") / pl.col("breakdown_of"))
    assert text(fails_most(rows)) == "c.example fails most: 10.0% (50 of 500)"
    # d.example has 5 of 20, which is more, but too few messages to be named.
    few = rows.with_columns(breakdown=pl.Series([0.01, 0.01, 0.1, 0.25, 0.04]))
    assert fails_most(few) is None and fails_most(rows.clear()) is None


def test_the_busiest_time_is_said_of_a_series_that_is_there() -> None:
    folded = pl.DataFrame({"slot": [0, 6], "series": "opens", "count": [10, 30], "total": 40})
    assert busiest(folded, "day", "clicks") is None, "it is the weekday of the launch"
    assert text(busiest(folded, "hour", "clicks")) == "06:00 is the busiest time for opens: 75.0% (30 of 40)"
    launched = datetime(2026, 11, 8, 5, 30, tzinfo=UTC)  # in Paris 06:30
    said = "06:00, the time of the launch, is the busiest for opens: 75.0% (30 of 40)"
    assert text(busiest(folded, "hour", "opens", "en", launched, "Europe/Paris")) == said
    assert "is the busiest time for" in (text(busiest(folded, "hour", "opens", "en", launched)) or "")
    assert "is the busiest time for" in (text(busiest(folded, "half_hour", "opens", "en", launched)) or "")
    assert busiest(folded.with_columns(count=20), "hour", "opens") is None
    assert busiest(folded.with_columns(total=29), "hour", "opens") is None
    assert busiest(folded.clear(), "hour", "opens") is None
    unknown = pl.lit(None, pl.Int64)
    assert busiest(folded.with_columns(count=unknown, total=unknown), "hour", "opens") is None


def test_a_list_that_is_cut_says_of_how_many() -> None:
    rows = pl.DataFrame({"label": ["a", "b"]})
    assert text(listed(rows, 3_320)) == "The newest 2 of 3,320 hits" and listed(rows, 2) is None
    for order, said in (
        ("-status_at", "The 2 of 5 messages whose status changed last"),
        ("status_at,domain", "The 2 of 5 messages whose status changed first"),
        ("domain,-status_at", "2 of 5 messages, the first in the order asked for"),
    ):
        assert text(listed(rows, 5, "en", "messages", order=order)) == said
        assert text(listed(rows, 5, "en", "messages", 9, order)) == f"5 of 9 messages, as asked for · {said}"
    assert text(listed(rows, 5, "en", "recipients")) == "2 of 5 recipients left out, in the order of the rules"
    assert text(listed(rows, 2, "pt_BR", "messages", 9)) == "2 de 9 mensagens, conforme pedido"


def test_the_first_limit_that_is_broken_is_said() -> None:
    rows = pl.DataFrame(
        {"domain": ["a.example", "b.example"], "processed": 100, "hard_bounces": [1, 2], "soft_bounces": [20, 3]}
    )
    rows = rows.with_columns(
        hard_bounce_rate=pl.col("hard_bounces") / 100, soft_bounce_rate=pl.col("soft_bounces") / 100
    )
    limits = {"hard_bounce_rate": 0.02, "soft_bounce_rate": 0.1}
    assert text(limits_kept(rows, "domain", limits)) == "Soft-bounce rate: 20.0% at a.example, advised at most 10%"
    assert text(limits_kept(rows, "domain", {"hard_bounce_rate": 0.02})) == "No domain is above what is advised"
    assert limits_kept(rows.clear(), "domain", limits) is None and limits_kept(rows, "domain", None) is None


def test_the_first_rate_with_an_outlier_is_said() -> None:
    rows = by_domain(("a.example", 40, 100), ("b.example", 42, 100), ("c.example", 5, 100))
    assert text(outlier(rows, "domain", ["open_rate"])) == "c.example opens least: 5.0% (5 of 100)"
    assert outlier(rows[:2], "domain", ["open_rate"]) is None and outlier(rows, "domain", None) is None


def one(**figures: int | None) -> pl.DataFrame:
    """A frame of `measure` with one row."""
    return pl.DataFrame([figures], schema=dict.fromkeys(figures, pl.Int64))


def test_what_became_of_the_messages_says_out_of_what() -> None:
    counts = {"delivered_with_seeds": 1_680, "failed": 63, "processed": 1_743, "to_deliver": 3_101}
    # 1,680 / 1,743 = 0.9639; 1,680 / 3,101 = 0.5418.
    assert text(outcome(one(**counts), "processed")) == "1,680 of 1,743 messages processed were delivered (96.4%)"
    of_all = "1,680 of 3,101 messages were delivered, control addresses included (54.2%)"
    assert text(outcome(one(**counts), "to_deliver")) == of_all
    pending = one(**counts, pending=1_358)
    said = f"{of_all}; 1,358 are pending"
    assert text(outcome(pending, "to_deliver")) == said
    assert text(outcome(one(delivered=3, to_deliver=4), "to_deliver")) == "3 of 4 messages were delivered (75.0%)"
    assert outcome(one(delivered=None, to_deliver=4), "to_deliver") is None
    assert outcome(one(delivered=0, to_deliver=0), "to_deliver") is None
    left = one(rejected=631, targeted=3_753)  # 0.1681
    assert text(left_out(left)) == "631 of 3,753 recipients were left out before sending (16.8%)"


def test_how_fast_it_was_sent() -> None:
    dates = {"started_at": datetime(2026, 11, 8, 17, tzinfo=UTC), "last_at": datetime(2026, 11, 8, 17, 30, tzinfo=UTC)}
    pace = pl.DataFrame([{**dates, "messages_per_hour": 6_200.0, "pending": 0}])
    assert text(sent_within(pace)) == "Sent within 30 min, at 6,200 messages an hour"
    uneven = pace.with_columns(last_at=pl.lit(dates["last_at"] + timedelta(seconds=78)))
    assert text(sent_within(uneven)) == "Sent within 31 min 18 s, at 6,200 messages an hour"
    late = pace.with_columns(pending=7)
    assert text(sent_within(late)) == "7 messages are pending after 30 min at 6,200 an hour"
    assert sent_within(pace.with_columns(messages_per_hour=0.9)) is None
    assert sent_within(pace.with_columns(last_at=pl.lit(None, pl.Datetime))) is None
    starts = [datetime(2026, 11, 8, 17, n, tzinfo=UTC) for n in (0, 1, 1)]
    throughput = pl.DataFrame(
        {
            "starts_at": starts,
            "seconds": 60,
            "messages": [10, 9, 2],
            "messages_per_hour": [600.0, 540.0, 120.0],
            "bits_per_second": None,
        }
    )
    throughput = throughput.cast({"bits_per_second": pl.Float64})
    assert text(fastest(throughput)) == "Busiest minute: 11 messages, 660 an hour (Sun, 2026-11-08 17:01)"
    assert fastest(throughput, "bits_per_second") is None and fastest(throughput.clear()) is None


def test_opens_on_known_devices_and_clicks_beside_the_average() -> None:
    opens = pl.DataFrame({"row": ["group", "total"], "computer": [1, 40], "mobile": [2, 60]})
    assert text(on_mobiles(opens)) == "60.0% of the opens on known devices were on mobiles (60 of 100)"
    assert on_mobiles(opens.with_columns(mobile=pl.lit(None, pl.Int64), computer=3)) is None
    figures = pl.DataFrame([{"platform_average": 0.2256, "numerator": 303, "denominator": 1_260}])
    said = "303 of the estimated 1,260 who opened clicked (24.0%); the platform average is 22.6%"
    assert text(above_average(figures)) == said
    alone = figures.with_columns(platform_average=pl.lit(None, pl.Float64))
    assert text(above_average(alone)) == "303 of the estimated 1,260 who opened clicked (24.0%)"
    assert text(clicked_times(one(unique_clicks=303, total_clicks=807))) == "303 recipients clicked 807 times"
    assert clicked_times(one(unique_clicks=0, total_clicks=0)) is None
    in_message, every = (pl.DataFrame({"clicks": [9, total], "total": total}) for total in (229, 339))
    assert text(of_all_links(in_message, every)) == "229 of 339 clicks were on links of the message (67.6%)"
    kinds = pl.DataFrame({"recipients": [1_168, 303, 29]})
    assert text(clicked_of_reacted(kinds)) == "303 of 1,168 who reacted clicked (25.9%)"
    assert clicked_of_reacted(kinds.with_columns(recipients=pl.lit(None, pl.Int64))) is None


def test_when_most_clicks_came() -> None:
    starts = [datetime(2026, 11, day, hour, tzinfo=UTC) for day, hour in ((8, 17), (8, 18), (9, 9), (8, 17))]
    series = ["clicks", "clicks", "clicks", "opens"]
    activity = pl.DataFrame({"starts_at": starts, "series": series, "count": [30, 10, 20, 900]})
    hours = "Busiest hour for clicks: from Sun, 2026-11-08 17:00, 50.0% (30 of 60)"
    assert text(busiest_start(activity)) == hours
    days = activity[:3].rename({"count": "clicks"}).drop("series")
    assert text(busiest_start(days, "1d")) == "Busiest day for clicks: Sun, 2026-11-08, 66.7% (40 of 60)"
    # One day alone is said by its hours: 30 of 40.
    assert text(busiest_start(days[:2], "1d")) == hours.replace("50.0% (30 of 60)", "75.0% (30 of 40)")
    assert busiest_start(days[:1], "1d") is None and busiest_start(days.clear()) is None
    reached = pl.DataFrame({"share": [0.5, 0.9], "clicks": ["1 h", "18 h 40 min"]})
    assert text(last_share(reached)) == "90% of the clicks came within 18 h 40 min"
    so_far = last_share(reached, "en", pl.DataFrame({"phase": ["running"]}))
    assert text(so_far) == "90% of the clicks so far came within 18 h 40 min"


def test_clicks_in_the_message_and_elsewhere() -> None:
    placement = one(placed_clicks=807, total=1_355)  # 0.5956
    assert text(in_message(placement)) == "807 of 1,355 clicks were on links of the message (59.6%)"
    assert text(outside_message(placement)) == "548 of 1,355 clicks were elsewhere (40.4%)"
    assert in_message(one(placed_clicks=0, total=0)) is None
    links = pl.DataFrame({"label": [None, "Shop"], "url": ["https://a.example", "x"], "clicks": [30, 10], "total": 40})
    assert text(most_clicked(links)) == "“https://a.example” took 75.0% of all clicks (30 of 40)"


def test_half_of_the_acts_and_a_list_of_messages() -> None:
    launched = datetime(2026, 11, 8, 17, tzinfo=UTC)
    minutes = pl.Series([-9, *range(1, 41)])  # the 21st of 41 acts is the one of minute 20
    at = [launched + timedelta(minutes=n) for n in minutes]
    acts = pl.DataFrame({"occurred_at": at, "act": "opened"})
    sent = pl.DataFrame({"occurred_at": [launched] * 99, "act": "sent"})
    said = "Half of what readers did happened within 20 min of the launch"
    assert text(half_of_acts(pl.concat([sent, acts]), launched)) == said
    assert half_of_acts(acts[:29], launched) is None and half_of_acts(acts, None) is None
    assert text(shown_of(acts, 3_122)) == "The 41 messages acted on last, of 3,122" and shown_of(acts, 41) is None


def test_what_is_said_of_machines_and_of_people() -> None:
    rows = {"metric": ["open_rate", "recipient_click_rate", "unsubscribe_rate"], "machines": [20, 4, 1]}
    people = pl.DataFrame(rows | {"rate": [0.4, 0.1, 0.01], "people_rate": [0.3, 0.08, 0.0], "delivered": 200})
    said = "30.0% opened and 8.0% clicked by people alone; with machines 40.0% and 10.0%"
    assert text(by_people(people)) == said
    assert text(by_people(people.with_columns(machines=0))) == (
        "30.0% opened and 8.0% clicked; no machine is among them"
    )
    assert by_people(people.with_columns(people_rate=pl.Series([None, 0.08, 0.0]))) is None
    band = pl.DataFrame({"assumption": ["bounds"], "rate_low": [0.31], "rate_high": [0.378], "delivered": [3014]})
    assert text(opened_between(band)) == "Between 31.0% and 37.8% opened, machines aside"
    assert text(opened_between(band.with_columns(rate_high=0.31))) == "31.0% opened, machines aside"
    assert opened_between(band.with_columns(rate_low=pl.lit(None, pl.Float64))) is None
    clicks = pl.DataFrame({"clicks": [25], "people_clicks": [6]})
    assert text(opted_out_by_people(clicks)) == "People made 6 of 25 clicks on opt-out links (24.0%)"
    assert opted_out_by_people(clicks.clear()) is None
    assert opted_out_by_people(clicks.with_columns(people_clicks=None)) is None
    funnel = pl.DataFrame({"openers": [40, 35, 30], "clickers": [9, 9, 8]})
    assert text(left_by_rules(funnel)) == "The rules leave 30 of 40 who opened, and 8 of 9 who clicked"
    assert left_by_rules(funnel.with_columns(openers=None)) is None
    left, said = one(unsubscribed_recipients=25, delivered=3014), "25 of 3,014 recipients opted out (0.8%)"
    assert text(opted_out(left)) == text(opted_out(left, "en", clicks.with_columns(scanner_clicks=0))) == said
    scanned = clicks.with_columns(scanner_clicks=19)
    assert text(opted_out(left, "en", scanned)) == f"{said} · clicks by people: 6, by scanners: 19"


def test_what_differs_from_the_delivery_before() -> None:
    rates = {"metric": ["open_rate", "recipient_click_rate"], "rate_a": [0.4, 0.1], "rate_b": [0.3, 0.2]}
    rows = pl.DataFrame(rates | {"whole_a": 200, "whole_b": 200, "name": "A <b>", "p_adjusted": [0.03, 0.01]})
    alike = rows.with_columns(is_different=pl.Series([None, False]))
    assert text(unlike_before(alike)) == "As in “A <b>” before it: no rate differs beyond chance"
    said = "Click rate (recipients): 20.0%, after 10.0% in “A <b>”"
    assert text(unlike_before(rows.with_columns(is_different=True))) == said
    assert unlike_before(alike.clear()) is None


def test_what_errors_pages_and_tags_say() -> None:
    axes = {"permanence": ["permanent", "unknown"], "cause": "address", "messages": [35, 8], "failed": 105}
    assert text(invalid_addresses(pl.DataFrame(axes))) == "35 of 105 errors say that the address is invalid (33.3%)"
    assert invalid_addresses(pl.DataFrame(axes).clear()) is None
    ties = pl.DataFrame({"attribution": ["direct", "last", "none"], "visits": [30, 10, 0]})
    assert text(tied_by(ties)) == "30 of 40 pages follow a click in the message (75.0%)"
    assert text(tied_by(ties[:1])) == "All 30 pages follow a click in the message"
    assert tied_by(ties[2:]) is None
    tags = pl.DataFrame({"row": ["link", "link"], "link": ["shop", "help"], "clicks": [30, 10], "total": 40})
    assert text(most_tagged(tags)) == "Tag “shop”: 75.0% of the pages (30 of 40)"
    opens = {"row": "group", "name": ["PC", "Mac", None], "opens": [30, 10, 60], "total": 100}
    known = largest(pl.DataFrame(opens), "name", "opens", "total")
    assert text(known) == "PC: 30 of the 40 opens where it is known (75.0%)"
    few = largest(pl.DataFrame(opens).with_columns(opens=pl.Series([30, 10, 20])), "name", "opens", "total")
    assert text(few) == "PC: 30 of 100 opens (30.0%)"


def test_what_messages_had_reached_at_an_age() -> None:
    rows = {"series": ["opens", "opens", "clicks"], "hours": [1.0, 2.5, 2.25], "share_so_far": [0.1, 0.26, 0.05]}
    curves = pl.DataFrame(rows | {"messages": 1000})
    assert text(reached_by_age(curves)) == "26.0% opened and 5.0% clicked within 2 h 15 min of being sent"
    assert reached_by_age(curves[:2]) is None and reached_by_age(curves.clear()) is None
