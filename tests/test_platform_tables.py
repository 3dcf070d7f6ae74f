"""Charts and tables beyond one delivery: what is unknown says why once, no text of a log becomes a tag."""

import polars as pl
import pytest
from selectolax.lexbor import LexborHTMLParser

from tests.spec.golden import at, golden, tables
from tests.spec.test_sharing import display, instance, share
from trackkit.analysis.several import reach, side_by_side, unfinished
from trackkit.analysis.sharing import NETWORKS, sharing_activity, social_sharing
from trackkit.analysis.subscriptions import (
    acts_by_delivery,
    acts_by_week,
    subscription_curves,
    subscription_progress,
    subscription_totals,
)
from trackkit.errors import RequestError
from trackkit.show.charts.platform import network_bars, sharing_columns, subscription_charts
from trackkit.show.tables.platform import (
    activity_table,
    comparison_table,
    departures_table,
    network_table,
    progress_table,
    sharing_figures,
    subscription_figures,
)

WORDS = {name: name.capitalize() for name in NETWORKS}
HOSTILE = "<script>document.title='pwned'</script>"


def cells(table) -> list[list[str]]:
    page = LexborHTMLParser(table.as_raw_html())
    assert not page.css("script")
    rows = page.css("tbody tr")
    return [[cell.text(separator=" ", strip=True) for cell in row.css("td, th")] for row in rows]


def letters(*acts: tuple[str, str, int, int]):
    rows = [{"service_id": service, "recipient_id": who, "action": action, "occurred_at": at(12, day=day)}
            for service, who, action, day in acts]  # fmt: skip
    return tables(subscription=rows, service=[{"service_id": "8", "label": HOSTILE}])


def test_networks_and_their_total():
    given = instance(share(), share(), share("12"), display(), display())
    shown = cells(network_table(social_sharing(given, "7"), ["network", "shares", "sharing_rate", "open_rate"], WORDS))
    assert shown[1] == ["Facebook", "2", "50.0% 2 of 4", "100.0% 2 of 2"]
    assert shown[0] == ["Email", "0", "0.0% 0 of 4", "n/a"]
    assert shown[-1] == ["Total", "3", "75.0% 3 of 4", "66.7% 2 of 3"]


def test_an_unknown_column_says_why_once():
    given = instance(share(), links={"10": (1, "facebook")})
    shown = cells(network_table(social_sharing(given, "7"), ["network", "opens", "open_rate"], WORDS))
    assert shown[1] == ["Facebook", "n/a", "n/a"] and shown[-1] == ["Total", "n/a no shared page is tracked", "n/a"]
    periods = cells(activity_table(sharing_activity(given, "7"), ["starts_on", "new_contacts", "shares"]))
    assert periods == [["February 2012", "n/a", "1"], ["Total", "n/a no shared page is tracked", "1"]]
    with pytest.raises(RequestError, match="no column 'share'"):
        network_table(social_sharing(given, "7"), ["share"], WORDS)


def test_what_is_drawn_of_sharing():
    sharing = social_sharing(instance(share(), display()), "7")
    assert set(_rows(network_bars(sharing, WORDS))["kind"]) == {"Sharing activities", "Opens of shared pages"}
    nobody = social_sharing(instance(), "7")
    assert network_bars(nobody, WORDS) is None
    assert "Nothing was shared." in network_table(nobody, ["network", "shares"], WORDS)._repr_html_()
    later = display(recipient_id="9", occurred_at=at(12, day=21))
    both = sharing_activity(instance(share(), later), "7", every="day")
    drawn = _rows(sharing_columns(both, "day"))
    panels = drawn.sort("bottom", descending=True)["name"].to_list()
    assert panels == ["Sharing activities", "Opens of shared pages", "New contacts"]
    assert drawn["ends_at"].max() < at(0, day=29).timestamp() * 1000 + 86_400_000
    assert drawn["is_whole"].to_list() == [True] * 3
    assert sharing_columns(sharing_activity(instance(share()), "7")) is None  # one bar says nothing


def _rows(chart) -> pl.DataFrame:
    """What is drawn; the words beside it are rows of their own."""
    spec = chart.to_dict()
    drawn = next(part for part in (spec, *spec.get("layer", ())) if "tooltip" in part.get("encoding", {}))
    return pl.DataFrame(spec["datasets"][drawn.get("data", spec.get("data"))["name"]])


def test_services_and_their_periods():
    given = letters(("8", "a", 1, 1), ("8", "b", 1, 19), ("8", "a", 0, 20), ("9", "a", 1, 20), ("9", "b", 1, 20))
    columns = ["service", "period", "registered", "evolution", "evolution_rate", "loyalty"]
    shown = cells(progress_table(subscription_progress(given), columns, timezone="Europe/Paris"))
    nobody = "n/a nobody was registered"
    assert shown[0] == ["9 2 subscribers on 2012-02-20 13:00", "24 hours", "0", "+2", nobody, "100.0% 2 of 2"]
    assert shown[6][0] == f"{HOSTILE} 1 subscriber on 2012-02-20 13:00" and shown[7][0] == ""
    # in two days b joined and a left, so that of the none registered none remains
    assert shown[7][2:] == ["0", "0", nobody, nobody]
    unloaded = subscription_progress(tables(service=[{"service_id": "8"}]))
    assert cells(progress_table(unloaded, ["service", "loyalty"]))[0] == ["8", "n/a not in the data loaded"]


def test_departures_and_weeks():
    given = letters(("8", "a", 1, 1), ("8", "a", 0, 20))
    columns = ["delivery", "subscriptions", "unsubscriptions", "share"]
    shown = cells(departures_table(acts_by_delivery(given), columns))
    assert shown == [["(no delivery known)", "1", "100.0% 1 of 1"]]  # a column that is 0 for all deliveries is none
    (chart,) = subscription_charts(acts_by_week(subscription_curves(given)))
    drawn = _rows(chart).sort("bottom", descending=True)
    assert chart.to_dict()["title"]["text"] == HOSTILE
    assert drawn.select("name", "count", "is_whole").rows() == [
        ("Subscriptions", 1, True),
        ("Unsubscriptions", 1, False),
    ]
    assert "Paler: periods that are not whole." in chart.to_dict()["description"]
    (empty,) = subscription_charts(acts_by_week(subscription_curves(tables())))
    assert _rows(empty).is_empty()


def test_unknown_deliveries_come_last():
    acts = [("a", "7"), ("b", None), ("c", None)]
    rows = [{"service_id": "8", "recipient_id": who, "action": 0, "occurred_at": at(12), "delivery_id": delivery}
            for who, delivery in acts]  # fmt: skip
    given = tables(subscription=rows, delivery=[{"delivery_id": "7", "label": "Spring"}])
    shown = cells(departures_table(acts_by_delivery(given), ["delivery", "unsubscriptions"], 1))
    assert shown == [["Spring", "1"], ["(no delivery known)", "2"]]


def test_large_figures_of_sharing_and_services():
    html = sharing_figures(social_sharing(instance(share(), share("12"), display()), "7"))._repr_html_()
    assert '<strong>2</strong><span class="tk-of">on 2 networks' in html and "50.0%</strong>" in html
    assert "2 of 4" in html and "0.50 per sharing activity" in html
    given = letters(("8", "a", 1, 1), ("8", "b", 1, 19), ("8", "a", 0, 20), ("9", "a", 1, 20))
    totals = subscription_totals(subscription_progress(given))
    html = subscription_figures(totals, "48H")._repr_html_()
    # a was subscribed to 8 at noon on the 18th; b and the subscription to 9 came, a left 8
    for words in ("<strong>2</strong><span class=\"tk-of\">to 2 services", "Net growth in 48 hours</span><strong>+1",
                  "2 joined, 1 left", "at the start: 1", "33.3%: 1 of 3"):  # fmt: skip
        assert words in html
    unloaded = subscription_totals(subscription_progress(tables(service=[{"service_id": "8"}])))
    assert "n/a" in subscription_figures(unloaded, "48H")._repr_html_()
    assert "tk-tile" not in subscription_figures(totals.clear(), "48H")._repr_html_()


def test_deliveries_side_by_side():
    side, total = side_by_side(golden(), ["unique_opens", "open_rate", "complaint_rate"])
    shown = cells(comparison_table(side, total, ["unique_opens", "open_rate"], {"unique_opens": "Opened"}))
    assert shown == [["Golden 2012-02-20 15:00", "3", "75.0% 3 of 4"], ["Total", "3", "75.0% 3 of 4"]]
    hits = tables(event=golden().scan("event").collect().to_dicts())
    side, total = side_by_side(hits, ["unique_opens", "open_rate"])
    assert cells(comparison_table(side, total, ["unique_opens", "open_rate"])) == [
        ["230 2012-02-20 15:01", "3", "n/a"], ["Total", "3", "n/a not in the data loaded"]]  # fmt: skip


def test_a_total_is_of_the_deliveries_whose_opens_can_be_known():
    # 3 sent by mail to delivery 7, of whom one opened; 2 only text in delivery 8; 9 is being sent
    sent = [{"message_id": f"m{n}", "delivery_id": "8" if n > 3 else "7", "recipient_id": str(n), "status": "delivered",
             "is_seed": False} for n in range(1, 6)]  # fmt: skip
    hits = [{"event_id": "1", "delivery_id": "7", "message_id": "m1", "recipient_id": "1", "event_type": "opened",
             "occurred_at": at(12), "is_seed": False}]  # fmt: skip
    declared = [{"delivery_id": name, "to_deliver": to, "text_messages": text, "state": state}
                for name, to, text, state in (("7", 3, 0, 95), ("8", 2, 2, 95), ("9", 4, 0, 51))]  # fmt: skip
    given = tables(delivery=declared, message=sent, event=hits)
    side, total = side_by_side(given, ["delivered", "open_rate"], ["7", "8"])
    table = comparison_table(side, total, ["delivered", "open_rate"])
    assert cells(table)[-1] == ["Total", "5", "33.3% 1 of 3"]
    headings = [column["label"] for column in table.data["columns"]]
    assert headings[-1] == "Success (without control addresses), for Open rate (recipients)"
    assert [row[-1] for row in table.data["rows"]] == [3, 2, 3]
    assert reach(given, ["7", "8", "9"]).row(0) == (5, 5)
    assert unfinished(given, ["9", "7"]) == ["9"]
