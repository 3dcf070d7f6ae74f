"""Reactivity: who reacted and how, each recipient once; offers, text delimiters and the validity of links."""

from typing import Any

import duckdb
import pytest

from tests.notebooks import run as run_notebook
from tests.notebooks import texts
from tests.spec.golden import DELIVERY_ID, at, golden, tables
from trackkit.analysis.clickmap import (
    marked_message,
    message_links,
    named_links,
    offer_links,
    placed_clicks,
    sent_message,
)
from trackkit.analysis.content import read_content
from trackkit.analysis.links import late_clicks
from trackkit.analysis.reactions import breakdown, kinds
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError


def test_the_platforms_example_reacts() -> None:
    assert breakdown(golden(), DELIVERY_ID).select("reaction", "recipients", "delivered").rows() == [
        ("Bought", 0, 4), ("Clicked, did not buy", 2, 4), ("Opened, did not click", 1, 4), ("No reaction", 1, 4),
        (None, 4, 4),
    ]  # fmt: skip
    assert kinds(golden(), DELIVERY_ID).select("reaction", "recipients", "hits").rows() == [
        ("Open or any other reaction", 3, 19), ("Email click", 2, 15), ("Mirror page", 0, 0), ("Opt-out", 0, 0),
        ("Web", 0, 0), ("Transaction", 0, 0), ("Shared to a network", 0, 0),
    ]  # fmt: skip


def reacting() -> Snapshot:
    """Two deliveries of the same ids: 1 bought, 2 shared, 3 left, 4 is a control address, 5 failed but opened."""
    status = {"1": "delivered", "2": "delivered", "3": "delivered", "4": "delivered", "5": "failed", "6": "delivered"}
    sent = [
        {"delivery_id": d, "message_id": m, "status": s, "is_seed": m == "4"} for d in "78" for m, s in status.items()
    ]
    acts = {"1": ("opened", "clicked", "transaction"), "2": ("clicked",), "3": ("unsubscribed", "mirror_page"),
            "4": ("clicked",), "5": ("opened",)}  # fmt: skip
    hits = [
        {"event_id": f"{d}{m}{nth}", "delivery_id": d, "message_id": m, "event_type": kind, "is_seed": m == "4",
         "link_id": "5", "link_category": " Facebook " if m == "2" else None, "occurred_at": at(12)}
        for d in "78" for m, each in acts.items() for nth, kind in enumerate(each)
    ]  # fmt: skip
    return tables(delivery=[{"delivery_id": "7"}, {"delivery_id": "8"}], message=sent, event=hits)


@pytest.mark.parametrize("asked", ["7", ["7", "8"]])
def test_each_recipient_reached_is_in_one_row_of_the_breakdown(asked: Any) -> None:
    times = 1 if asked == "7" else 2
    rows = breakdown(reacting(), asked)
    assert rows["recipients"].to_list() == [1 * times, 1 * times, 1 * times, 1 * times, 4 * times]
    assert rows.filter(row="reaction")["recipients"].sum() == rows["delivered"][0]
    found = {
        row["reaction"]: (row["recipients"], row["hits"]) for row in kinds(reacting(), asked).iter_rows(named=True)
    }
    assert found["Open or any other reaction"] == (4 * times, 7 * times), "who failed and opened reacted too"
    assert found["Shared to a network"] == (1 * times, 1 * times) and found["Email click"] == (2 * times, 2 * times)


def test_the_second_implementation_agrees() -> None:
    message, event = (reacting().scan(name).collect().to_arrow() for name in ("message", "event"))
    steps = "CASE event_type WHEN 'transaction' THEN 3 WHEN 'clicked' THEN 2 ELSE 1 END"
    found = duckdb.sql(
        "SELECT coalesce(step, 0), count(*) FROM message LEFT JOIN "
        f"(SELECT delivery_id, message_id, max({steps}) AS step FROM event WHERE NOT is_seed GROUP BY ALL) "
        "USING (delivery_id, message_id) "
        "WHERE status = 'delivered' AND NOT is_seed GROUP BY 1 ORDER BY 1 DESC"
    ).fetchall()
    assert [n for _, n in found] == breakdown(reacting(), ["7", "8"])["recipients"].to_list()[:-1]
    assert message.num_rows == 12 and event.num_rows == 16


def test_without_a_log_of_messages_nothing_is_known() -> None:
    rows = breakdown(tables(delivery=[{"delivery_id": "7"}]), "7")
    assert rows["recipients"].to_list() == [None] * 5 and rows["share"].null_count() == 5
    with pytest.raises(RequestError, match="no delivery '9'"):
        kinds(reacting(), "9")


# --- offers

BODY = """<a href="https://x.example/1" data-url-id="5">plain</a>
<a href="https://x.example/%3C%25=id%25%3E" data-url-id="6">yours</a>
<a href="https://x.example/3" data-url-id="7">offer</a> <a href="https://x.example/4" data-url-id="8">leave</a>"""
CLICKS = {"5": 3, "6": 2, "7": 4, "8": 1}


def offers(**more: Any) -> Snapshot:
    kinds_of = {"5": 1, "6": 1, "7": 1, "8": 3}
    links = [
        {"link_id": key, "delivery_id": "7", "type_code": code, "label": f"L{key}",
         "offer_id": "900" if key == "7" else None}
        for key, code in kinds_of.items()
    ]  # fmt: skip
    hits = [
        {"event_id": f"{key}{nth}", "delivery_id": "7", "link_id": key, "event_type": "clicked", "is_seed": False,
         "occurred_at": at(12, nth), "message_id": "1"}
        for key, times in CLICKS.items() for nth in range(times)
    ]  # fmt: skip
    content = [{"delivery_id": "7", "message_format": "html", "body": BODY}]
    return tables(**{"delivery": [{"delivery_id": "7"}], "link": links, "event": hits, "content": content} | more)


def test_offers_carry_no_badge_and_count_in_the_denominator() -> None:
    placed = placed_clicks(offers(), "7")
    assert placed.select("link_id", "percent", "placed", "reason").rows() == [
        ("7", 40, False, "links of offers carry no badge"), ("5", 30, True, None), ("6", 20, True, None),
        ("8", 10, False, "opt-out and mirror-page links carry no badge"),
    ]  # fmt: skip
    assert message_links(offers(), "7")["link_id"].to_list() == ["5", "6"], "a personalised link has a badge"
    box = offer_links(offers(), "7")
    assert box.select("link_id", "clicks", "total", "share").rows() == [("7", 4, 10, 0.4)]
    assert named_links(offers(), "7")["clicks"].sum() == 10


def test_the_message_as_sent_has_no_badge_and_no_link() -> None:
    page = sent_message(offers(), "7")
    assert "plain" in page and "click-share" not in page and "href" not in page
    assert "click-share" in marked_message(offers(), "7")
    assert "No text content" in sent_message(offers(), "7", "text")


# --- addresses in texts


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("(see https://x.example/a) and", ["https://x.example/a"]),
        ("[https://x.example/a],next", ["https://x.example/a"]),
        ("{https://x.example/a}b", ["https://x.example/a"]),
        ("(https://x.example/a)(https://x.example/b)", ["https://x.example/a", "https://x.example/b"]),
        ("https://x.example/a_(b) and", ["https://x.example/a_(b)"]),
        ("(https://x.example/a_(b))", ["https://x.example/a_(b)"]),
        ("https://x.example/a).", ["https://x.example/a"]),
        ("https://x.example/a)b", ["https://x.example/a)b"]),
        ("a (done) https://x.example/a)b", ["https://x.example/a)b"]),
        ("an open ( one\n\nhttps://x.example/a)b", ["https://x.example/a)b"]),
        ("([https://x.example/a]https://x.example/b)c", ["https://x.example/a", "https://x.example/b"]),
    ],
)
def test_an_address_ends_at_the_delimiter_opened_before_it(text: str, urls: list[str]) -> None:
    content = read_content(text, "text")
    assert [place.url for place in content.places] == urls
    shown = content.with_badges([f"<i>{nth}</i>" for nth in range(len(urls))])
    assert all(f"{url}<i>{nth}</i>" in shown for nth, url in enumerate(urls))


# --- validity


def test_clicks_after_the_validity_of_their_link() -> None:
    links = offers().scan("link").collect().to_dicts()
    ends = {"5": at(12, 1), "6": None, "7": at(13), "8": at(12)}
    given = offers(link=[row | {"valid_until": ends[row["link_id"]]} for row in links])
    # 5: minutes 0, 1, 2, of which 2 is after its end; 7: none of four; 8: at its very end
    columns = ["row", "link_id", "clicks", "late"]
    assert late_clicks(given, "7").select(columns).rows() == [
        ("link", "5", 3, 1), ("link", "7", 4, 0), ("link", "8", 1, 0), ("total", None, 8, 1),
    ]  # fmt: skip
    web = offers(delivery=[{"delivery_id": "7", "web_validity_at": at(12, 0, 30)}],
                 link=[row | {"valid_until": ends[row["link_id"]]} for row in links])  # fmt: skip
    assert late_clicks(web, "7").select(columns).rows()[-1] == ("total", None, 10, 2 + 1 + 3)
    assert late_clicks(offers(), "7").rows() == [("total", None, None, None, None, None, None)]


def test_offers_and_validity_stand_on_their_pages_only_where_there_are_some() -> None:
    ends = [row | {"valid_until": at(12, 1)} for row in offers().scan("link").collect().to_dicts()]
    outputs = [
        output for section, output in run_notebook("hot_clicks", store=offers(), delivery="7") if section == "offers"
    ]
    assert "40.0% of all clicks were on offers (4 of 10)" in texts(outputs[0]) and ">offer</" in texts(outputs[1])
    given = offers(link=ends)
    shown = [
        out
        for section, out in run_notebook("urls_and_click_streams", store=given, delivery="7")
        if section == "validity"
    ]
    # after minute 1: one of three, none of two, two of four, none of one
    assert "3 of 10 clicks came after the validity of their link (30.0%)" in texts(shown[0])
    assert "2012-02-20 12:01" in texts(shown[1]) and "Total" in texts(shown[1])
    plain = offers(link=[row | {"offer_id": None, "valid_until": None} for row in ends])
    for report, section in (("hot_clicks", "offers"), ("urls_and_click_streams", "validity")):
        assert section not in [name for name, _ in run_notebook(report, store=plain, delivery="7")]
