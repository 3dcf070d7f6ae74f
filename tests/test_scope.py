"""Scopes: which deliveries a text names, in every way to write it; and what is said where it names none."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trackkit as tk
from trackkit import schema
from trackkit.engine.scope import GROUPS, each_of, every
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

LAUNCHED = {  # by the clock of UTC; Paris is two hours ahead until 25 October, then one
    "1": datetime(2026, 9, 30, 22, 30, tzinfo=UTC),  # 1 October in Paris
    "2": datetime(2026, 10, 5, 9, tzinfo=UTC),
    "3": datetime(2026, 10, 31, 22, 59, tzinfo=UTC),  # the last minute of October in Paris
    "4": datetime(2026, 10, 31, 23, 0, tzinfo=UTC),  # the first of November
    "5": None,
    "p1": datetime(2026, 10, 6, 9, tzinfo=UTC),
    "p2": datetime(2026, 10, 7, 9, tzinfo=UTC),
    "gone": datetime(2026, 10, 8, 9, tzinfo=UTC),
    'a "b", c': datetime(2026, 10, 9, 9, tzinfo=UTC),
}
ROWS: list[dict[str, Any]] = [
    {"delivery_id": "1", "campaign_id": "12", "folder_id": "3", "label": "Letter"},
    {"delivery_id": "2", "campaign_id": "12", "folder_id": "4", "label": "Letter"},
    {"delivery_id": "3", "campaign_id": "13", "folder_id": "5", "label": "Offer"},
    {"delivery_id": "4", "campaign_id": None, "folder_id": "6", "label": None},
    {"delivery_id": "5", "campaign_id": "15", "folder_id": None, "label": None},
    {"delivery_id": "p1", "campaign_id": "14", "folder_id": "7", "is_proof": True},
    {"delivery_id": "p2", "campaign_id": "14", "folder_id": "7", "is_proof": True},
    {"delivery_id": "gone", "campaign_id": "16", "folder_id": None, "state": 100},
    {"delivery_id": 'a "b", c', "campaign_id": "12", "folder_id": None, "label": "campaign:12"},
]
CAMPAIGNS = [
    {"campaign_id": "12", "label": "Spring sale", "programme_id": "2"},
    {"campaign_id": "13", "label": "Offers", "internal_name": "OP13", "programme_id": "2"},
    {"campaign_id": "17", "label": "Nothing yet", "programme_id": "9"},
]
# 3 holds 4, and 4 holds 5, and 5 holds 3: a circle; 8 holds 6, which is named as 7 is.
FOLDERS = [
    ("3", "5", "x"),
    ("4", "3", "y"),
    ("5", "4", "z"),
    ("6", "8", "same"),
    ("7", None, "same"),
    ("8", None, "w"),
]


def frame(table: str, rows: list[dict[str, Any]]) -> pl.LazyFrame:
    return pl.DataFrame(rows, schema.TABLES[table].schema).lazy()


def tables() -> Snapshot:
    """Nine deliveries in campaigns and folders, and a tenth of which only a hit is known; the platform is in Paris."""
    deliveries = [row | {"started_at": LAUNCHED[row["delivery_id"]]} for row in ROWS]
    hit = {"delivery_id": "6", "event_type": "opened", "occurred_at": datetime(2026, 10, 20, 9, tzinfo=UTC)}
    frames = {
        "delivery": frame("delivery", deliveries),
        "campaign": frame("campaign", CAMPAIGNS),
        "programme": frame("programme", [{"programme_id": "2", "label": "Shop"}]),
        "folder": frame("folder", [{"folder_id": a, "parent_id": b, "label": c} for a, b, c in FOLDERS]),
        "event": frame("event", [hit]),
    }
    return Snapshot(frames, timezone="Europe/Paris")


ABC = 'a "b", c'
ALL = ["4", "3", "6", ABC, "2", "1", "5"]  # the latest launch first, the undated last


@pytest.mark.parametrize(
    ("text", "kind", "canonical", "label", "chosen"),
    [
        ("2", "delivery", "2", "2", "2"),
        ("p1", "delivery", "p1", "p1", "p1"),  # named: it counts though it is a proof
        ("Offer", "delivery", "3", "3", "3"),
        ("1,2", "deliveries", "1,2", "1,2", ["2", "1"]),
        ("2, 1 ,2", "deliveries", "1,2", "1,2", ["2", "1"]),
        ("1,p2", "deliveries", "1,p2", "1,p2", ["p2", "1"]),
        ('"a ""b"", c"', "delivery", '"a ""b"", c"', '"a ""b"", c"', ABC),
        ("campaign:12", "campaign", "campaign:12", "Spring sale", [ABC, "2", "1"]),
        ('campaign:"spring SALE"', "campaign", "campaign:12", "Spring sale", [ABC, "2", "1"]),
        ("campaign:op13", "campaign", "campaign:13", "Offers", ["3"]),
        ("campaign:13,12", "campaign", "campaign:12,13", "Spring sale, Offers", ["3", ABC, "2", "1"]),
        ("campaign:15", "campaign", "campaign:15", "15", ["5"]),  # in no table of campaigns
        ("programme:2", "programme", "programme:2", "Shop", ["3", ABC, "2", "1"]),
        ("folder:4", "folder", "folder:4", "y", ["3", "2", "1"]),  # with those in it, in a circle
        ("folder:8", "folder", "folder:8", "w", ["4"]),
        ("only-folder:4", "folder", "only-folder:4", "y", ["2"]),
        ("period:2026-10-01..2026-10-31", "period", "period:2026-10-01..2026-10-31", None, ["3", "6", ABC, "2", "1"]),
        ("period:2026-10", "period", "period:2026-10-01..2026-10-31", None, ["3", "6", ABC, "2", "1"]),
        ("period:2026-10-20..", "period", "period:2026-10-20..", None, ["4", "3", "6"]),
        ("period:..2026-10-05", "period", "period:..2026-10-05", None, ["2", "1"]),
        ("period:2026", "period", "period:2026-01-01..2026-12-31", None, ALL[:-1]),
        ("platform", "platform", "platform", "platform", None),
        ("platform campaign:12", "campaign", "campaign:12", "Spring sale", [ABC, "2", "1"]),
        ("period:2026-10-05 campaign:12", "campaign", "campaign:12 period:2026-10-05..2026-10-05", None, ["2"]),
        ("campaign:14 p1", "deliveries", "p1 campaign:14", None, ["p1"]),
    ],
)
def test_what_a_text_names(text: str, kind: str, canonical: str, label: str | None, chosen: Any) -> None:
    found = tk.scope(tables(), text)
    assert (found.kind, found.text, found.chosen) == (kind, canonical, chosen)
    assert label is None or found.label == label
    assert tk.scope(tables(), found.text) == found  # one text for all ways to write it


def test_the_platform_is_all_that_count() -> None:
    assert list(tk.scope(tables()).deliveries) == ALL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("campaign:14", "No delivery of campaign 14 counts: its 2 are proofs. Named by their own ids, they do: p2,p1."),
        ("campaign:16", "its only one is a model or deleted"),
        ("campaign:17", "No delivery of campaign 17 is in these tables."),
        ("campaign:12 folder:8", "campaign:12 holds 3, folder:8 holds 1"),
        ("campaign:18", "There is no campaign '18' in these tables."),
        ("campaign:Ofers", "Did you mean 'Offers'?"),
        ("compaign:12", "There is no kind of scope 'compaign'. Did you mean 'campaign'?"),
        ("campaign", "as in campaign:12"),
        ("campaign:", "as in campaign:12"),
        ("Letter", "delivery 'Letter' names 2: take one of the ids 1, 2."),
        ("folder:same", "folder 'same' names 2: take one of the ids 6, 7."),
        ("99", "There is no delivery '99' in these tables."),
        ("period:2026-11..2026-10", "the earlier day first"),
        ("period:..", "A period is such as"),
        ("period:2026-13", "A period is such as"),
        ("period:2020", "No delivery of period:2020-01-01..2020-12-31 is in these tables."),
        ("", "got nothing"),
        ('"', "A scope is such as"),
        ("1,,2", "A scope is such as"),
    ],
)
def test_what_is_said_where_it_names_nothing(text: str, said: str) -> None:
    with pytest.raises(RequestError) as error:
        tk.scope(tables(), text)
    assert said in str(error.value)


def test_tables_without_campaigns_say_so() -> None:
    alone = Snapshot({"delivery": pl.LazyFrame({"delivery_id": ["1"]})})
    with pytest.raises(RequestError, match="These tables hold no campaign"):
        tk.scope(alone, "campaign:1")
    assert every(alone, "campaign") == [] and tk.scope(alone, "1").chosen == "1"


def test_every_group_in_which_a_delivery_counts() -> None:
    assert [each.text for each in every(tables(), "campaign")] == ["campaign:12", "campaign:13", "campaign:15"]
    assert [each.text for each in every(tables(), "programme")] == ["programme:2"]
    assert [each.text for each in every(tables(), "folder")] == [f"folder:{name}" for name in "34568"]
    asked = each_of(tables(), ["programme", "campaign:13", "programme:2"])
    assert [each.text for each in asked] == ["programme:2", "campaign:13"]


@given(st.text(max_size=40) | st.lists(st.sampled_from(["campaign", ":", "12", ",", " ", '"', "..", "period", "2026"])))
@settings(max_examples=150)
def test_any_text_is_read_or_refused_in_one_sentence(given_text: str | list[str]) -> None:
    text = given_text if isinstance(given_text, str) else "".join(given_text)
    try:
        found = tk.scope(SMALL, text)
    except RequestError as error:
        assert "\n" not in str(error)
    else:
        assert tk.scope(SMALL, found.text) == found


SMALL = tables()


@given(st.text(min_size=1, max_size=12))
@settings(max_examples=60)
def test_any_id_can_be_named_in_quotes(name: str) -> None:
    sent = Snapshot({"delivery": pl.LazyFrame({"delivery_id": [name, "other"], "campaign_id": [name, None]})})
    quoted = '"' + name.replace('"', '""') + '"'
    assert tk.scope(sent, quoted).chosen == name
    assert tk.scope(sent, f"campaign:{quoted}").deliveries == (name,)
    assert [each.deliveries for each in every(sent, GROUPS[0])] == [(name,)]


def test_a_scope_is_measured_with_what_it_chooses() -> None:
    clicks = [("1", "a", "x"), ("1", "b", "y"), ("2", "c", "x"), ("3", "d", "z")]
    rows = [
        {"delivery_id": delivery, "message_id": message, "recipient_id": person, "event_type": "clicked",
         "is_seed": False, "person_id": person}
        for delivery, message, person in clicks
    ]  # fmt: skip
    known = schema.EVENT.schema
    events = pl.DataFrame([{key: value for key, value in row.items() if key in known} for row in rows], known).lazy()
    given_tables = Snapshot({**tables().frames, "event": events})
    chosen = tk.scope(given_tables, "campaign:12").chosen
    assert tk.measure(given_tables, ["total_clicks"], by=[], delivery=chosen)["total_clicks"].item() == 3
