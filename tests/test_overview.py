"""The overview of a delivery: its funnel, the links of the message, and its page on the demo."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

import trackkit as tk
from tests.spec.golden import at, tables
from trackkit.analysis.clickmap import clicked_links
from trackkit.analysis.overview import beside_previous, funnel
from trackkit.errors import RequestError
from trackkit.show.tables.overview import message_link_table
from trackkit.store import open_store

LINK_IDS = {"Shop": "10", "Help": "9", "Story": "8"}
KINDS = {"O": "opened", "C": "clicked", "T": "transaction", "U": "unsubscribed"}


def given(hits: str, delivered: int = 4, **facts: Any) -> Any:
    """Delivery 7 with so many messages, and hits as in "aO aC:Shop bT": message, kind, label of the link."""
    events = []
    for place, hit in enumerate(hits.split()):
        acted, _, label = hit.partition(":")
        events.append(
            {"event_id": str(place), "delivery_id": "7", "message_id": acted[0], "event_type": KINDS[acted[1]],
             "link_id": LINK_IDS.get(label), "link_label": label or None,
             "url": f"https://x.example/{label}", "occurred_at": at(12), "is_seed": False,
             "person_id": acted[0]}
        )  # fmt: skip
    messages = [
        {"delivery_id": "7", "message_id": letter, "status": "delivered", "is_seed": False}
        for letter in "abcdefgh"[:delivered]
    ]
    delivery = {"delivery_id": "7", "to_deliver": 5, "message_type": 0} | facts
    links = [{"link_id": "1", "delivery_id": "7", "type_code": 1}, {"link_id": "2", "delivery_id": "7", "type_code": 5}]
    return tables(delivery=[delivery], message=messages, event=events, link=links)


def test_the_funnel_by_hand() -> None:
    rows = funnel(given("aO aO aC:Shop aC:Shop aT aT bO bT cC:Shop dU"), "7")
    # a, b, c and d opened (any hit is an opening), a and c clicked, a and b bought.
    assert rows.select("step", "count", "first", "before", "share").rows() == [
        ("to_deliver", 5, 5, None, None),
        ("delivered", 4, 5, 5, 0.8),
        ("unique_opens", 4, 5, 4, 1.0),
        ("unique_clicks", 2, 5, 4, 0.5),
        ("buyers", 2, 5, 2, 1.0),
    ]
    assert rows["why"].to_list() == [None] * 5


def test_what_cannot_be_seen_is_no_step() -> None:
    rows = funnel(given("aC:Shop", text_messages=5), "7")
    assert rows.select("step", "count", "share").rows()[2:4] == [
        ("unique_opens", None, None),
        ("unique_clicks", 1, None),
    ]
    assert rows["why"][2] == "only text was sent: its opens cannot be seen"
    with pytest.raises(RequestError, match="There is no delivery '8'"):
        funnel(given(""), "8")


def test_refused_purchases_do_not_count() -> None:
    snapshot = given("aT bT")
    refusal = {"person_id": "a", "recipient_id": None, "web_optout": 1, "occurred_at": at(1), "hit_id": "1"}
    known = {name: snapshot.scan(name) for name in ("delivery", "message", "event", "link")}
    pages = tables(page_hit=[refusal]).scan("page_hit")
    both = type(snapshot)(known | {"page_hit": pages})
    assert (
        funnel(both, "7")["count"].to_list()[-1]
        == tk.measure(both, "transactions", delivery="7")["transactions"][0]
        == 1
    )


def test_the_links_of_the_message_by_hand() -> None:
    hits = "aC:Shop aC:Shop bC:Shop aC:Help cC:Help aC:Story dU:Out aT:Bought aO"
    rows = clicked_links(given(hits), "7", top=2)
    assert rows.select("rank", "row", "link", "clicks", "people", "total").rows() == [
        (1, "link", "Shop", 3, 2, 6),
        (2, "link", "Help", 2, 2, 6),
        (None, "others", "Others", 1, 1, 6),
        (None, "total", "Total", 6, 3, 6),
    ]
    assert rows["share"].to_list() == [0.5, 2 / 6, 1 / 6, 1.0]
    assert rows["total"][0] == tk.measure(given(hits), "total_clicks", delivery="7")["total_clicks"][0]
    none = clicked_links(given("aO"), "7")
    assert none["row"].to_list() == ["total"] and message_link_table(none) is None


@pytest.fixture(scope="module")
def page(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> BeautifulSoup:
    """The overview of the demo delivery with most hits."""
    busiest = tk.measure(open_store(str(demo_store)), ["total_opens"]).sort("total_opens")["delivery_id"][-1]
    path = tk.render("overview", str(demo_store), tmp_path_factory.mktemp("overview"), delivery=busiest)
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def test_the_page_has_its_answer_first(page: BeautifulSoup) -> None:
    assert [section["id"] for section in page.select("main section")] == [
        "lead", "headline", "funnel", "first_hours", "people", "domains", "links"]  # fmt: skip
    assert len(page.select(".tk-tile")) == 6 and len(page.select(".tk-tile .tk-what")) == 6
    lead = page.select_one(".tk-lead")
    assert lead is not None and "opened" in lead.get_text() and len(str(page)) < 150_000
    assert all(link.get("href") is None for link in page.select("[data-report]"))


def test_a_card_without_anything_to_show_is_left_out(demo_store: Path, tmp_path: Path) -> None:
    quiet = tk.measure(open_store(str(demo_store)), ["total_opens"]).sort("total_opens")["delivery_id"][0]
    text = tk.render("overview", str(demo_store), tmp_path, delivery=quiet).read_text("utf-8")
    assert [section["id"] for section in BeautifulSoup(text, "html.parser").select("main section")][:3] == [
        "lead", "headline", "funnel"]  # fmt: skip


def after(*clicks: int, state: int = 95, **facts: Any) -> Any:
    """Deliveries 1, 2 … of 400 messages each, a week apart, the newest hit four days after the last one."""
    deliveries, messages, hits = [], [], []
    for place, count in enumerate(clicks):
        key, launched = str(place + 1), at(12) + timedelta(days=7 * place)
        deliveries.append(
            {"delivery_id": key, "to_deliver": 400, "started_at": launched, "message_type": 0, "label": f"L{key}",
             "state": state if place == len(clicks) - 1 else 95} | facts
        )  # fmt: skip
        message = {"delivery_id": key, "status": "delivered", "is_seed": False}
        messages += [message | {"message_id": str(number)} for number in range(400)]
        hit = {"delivery_id": key, "event_type": "clicked", "is_seed": False, "occurred_at": launched}
        hits += [hit | {"message_id": str(n), "event_id": f"{key} {n}", "person_id": str(n)} for n in range(count)]
    hits[-1] |= {"occurred_at": launched + timedelta(days=4)}
    return tables(delivery=deliveries, message=messages, event=hits)


def test_a_delivery_is_compared_with_the_one_before_it() -> None:
    rates = ["delivery_rate", "recipient_click_rate"]
    rows = beside_previous(after(90, 20, 48), "3", rates)
    # 20 and 48 of 400, as by Newcombe in tests/test_compare.py; all are delivered, which has no test.
    assert rows.select("metric", "a", "b", "part_a", "part_b", "is_different", "name").rows() == [
        ("delivery_rate", "2", "3", 400, 400, None, "L2"),
        ("recipient_click_rate", "2", "3", 20, 48, True, "L2"),
    ]
    both = beside_previous(after(20, 38), "2", ["recipient_click_rate", "total_click_rate"])
    first, second = sorted(both["p"])
    assert both["p_adjusted"].sort().to_list() == pytest.approx([2 * first, max(2 * first, second)])


def test_only_finished_deliveries_of_a_kind_are_compared() -> None:
    rates = ["recipient_click_rate"]
    assert beside_previous(after(20, 48), "1", rates).is_empty(), "none is before it"
    assert beside_previous(after(20, 48, state=55), "2", rates).is_empty(), "it is running"
    assert beside_previous(after(20, 48, is_model=True), "2", rates).is_empty(), "the other is a model"
    with pytest.raises(RequestError):
        beside_previous(after(20, 48), "3", rates)
