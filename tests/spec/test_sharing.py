"""Sharing to social networks: shares per network, what came of them, and when."""

import random
from datetime import UTC, date, datetime, timedelta

import duckdb
import polars as pl
import pytest

from tests.spec.golden import at, tables
from trackkit.analysis.sharing import NETWORKS, sharing_activity, social_sharing
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

# link: its type code and its category
LINKS = {"10": (1, "facebook"), "11": (1, " Facebook"), "12": (1, "twitter"), "13": (1, "shop"), "14": (2, "facebook"),
         "20": (4, "facebook"), "21": (4, "twitter"), "22": (4, "web"), "23": (5, "facebook")}  # fmt: skip
TYPES = {1: "clicked", 2: "opened", 4: "web_visited", 5: "transaction"}


def instance(*hits: dict[str, object], links: dict[str, tuple[int, str]] = LINKS, **more: list) -> Snapshot:
    """Hits given by their link; delivery 7 was sent to recipients 1 and 2, and holds 4 messages of 5 targeted."""
    rows = [
        {"delivery_id": "7", "event_id": str(number), "event_type": TYPES[links[str(hit["link_id"])][0]],
         "link_category": links[str(hit["link_id"])][1], "occurred_at": at(15), "is_seed": False} | hit
        for number, hit in enumerate(hits)
    ]  # fmt: skip
    sent = [{"delivery_id": "7", "message_id": key, "recipient_id": key} for key in ("1", "2")]
    listed = [{"link_id": key, "type_code": code, "category": name} for key, (code, name) in links.items()]
    delivery = [{"delivery_id": "7", "targeted": 5, "to_deliver": 4}, *more.pop("delivery", [])]
    return tables(event=rows, link=listed, message=sent, delivery=delivery, **more)


def share(link: str = "10", **more: object) -> dict[str, object]:
    return {"link_id": link, "message_id": "1", "recipient_id": "1"} | more


def display(link: str = "20", **more: object) -> dict[str, object]:
    """A page of the site seen by somebody in no delivery."""
    return {"link_id": link, "message_id": None, "recipient_id": None} | more


def by_network(given: Snapshot, *columns: str, delivery: object = "7") -> dict[str | None, tuple]:
    rows = social_sharing(given, delivery).select("network", *columns).rows()
    return {row[0]: row[1:] for row in rows}


def test_the_screen_of_the_platform():
    # spec 3.8; the first of the two rates is in percent of shares, the total that the platform prints is their sum
    shares, opens = (209, 244, 206, 0, 187), (13, 13, 0, 0, 56)
    names = ("email", "facebook", "twitter", "google", "linkedin")
    counts = pl.DataFrame({"network": names, "clicked": shares, "web_visited": opens}).unpivot(
        ["clicked", "web_visited"], index="network", variable_name="event_type"
    )
    events = counts.select(
        pl.col("network").repeat_by("value").alias("link_category"), pl.col("event_type").repeat_by("value")
    ).explode("link_category", "event_type", empty_as_null=False)
    given = tables(
        delivery=[{"delivery_id": "7", "targeted": 20_263_038, "to_deliver": 20_263_038}],
        link=[{"link_id": "5", "type_code": 4, "category": "facebook"}],
    )
    rows = events.with_columns(delivery_id=pl.lit("7"), is_seed=pl.lit(False), message_id=pl.lit(None, pl.String),
                               recipient_id=pl.lit(None, pl.String))  # fmt: skip
    found = social_sharing(Snapshot({**given.frames, "event": rows.lazy()}), "7", names)
    *networks, total = found.iter_rows(named=True)
    assert [row["network"] for row in networks] == list(names) and total["row"] == "total"
    assert [row["shares"] for row in networks] == list(shares) and total["shares"] == 846
    assert [round(100 * row["share_breakdown"], 2) for row in networks] == [24.70, 28.84, 24.35, 0, 22.10]
    assert [row["opens"] for row in networks] == list(opens) and total["opens"] == 82
    assert [round(100 * row["open_breakdown"], 2) for row in networks] == [15.85, 15.85, 0, 0, 68.29]
    assert [row["open_rate"] and round(100 * row["open_rate"], 2) for row in networks] == [6.22, 5.33, 0, None, 29.95]
    assert round(100 * total["added_open_rates"], 2) == 41.49
    assert round(100 * total["open_rate"], 2) == 9.69  # 82 opens of 846 shares
    assert total["sharing_rate"] == 846 / 20_263_038


def test_a_share_is_a_hit_on_a_link_of_a_network_that_is_no_open_and_no_page():
    given = instance(share(), share("11"), share("12"), share("13"), share("14"), share("20"), share("23"),
                     share(is_seed=True), share(delivery_id=None))  # fmt: skip
    found = by_network(given, "shares", "share_breakdown", "sharing_rate", "targeted_rate")
    assert found["facebook"] == (2, 2 / 3, 2 / 4, 2 / 5)
    assert found["twitter"] == (1, 1 / 3, 1 / 4, 1 / 5)
    assert found["digg"] == (0, 0.0, 0.0, 0.0)
    assert found[None] == (3, 1.0, 3 / 4, 3 / 5)
    assert list(found) == [*NETWORKS, None]


def test_opens_are_displays_by_others_than_those_sent_the_message():
    given = instance(
        display(), display(recipient_id="9"), display("23", recipient_id="9"), display("22"),
        display(recipient_id="2"), display(message_id="1", recipient_id="1"), display(is_seed=True), share(), share(),
    )  # fmt: skip
    found = by_network(given, "shares", "opens", "open_breakdown", "open_rate")
    assert found["facebook"] == (2, 3, 1.0, 1.5)
    assert found["twitter"] == (0, 0, 0.0, None)


def test_who_refused_web_tracking_displayed_no_shared_page():
    refusal = {"person_id": "p", "web_optout": 1, "web_application": "A", "page": "P", "occurred_at": at(9)}
    given = instance(display(person_id="p"), display(person_id="q"), share(person_id="p"), page_hit=[refusal])
    assert by_network(given, "shares", "opens")["facebook"] == (1, 1)


def test_what_cannot_be_known_is_null():
    untracked = instance(share(), links={key: LINKS[key] for key in ("10", "22")})
    assert by_network(untracked, "shares", "opens", "open_rate")[None] == (1, None, None)
    without_links = Snapshot({name: frame for name, frame in instance(share()).frames.items() if name != "link"})
    assert by_network(without_links, "shares", "opens")["facebook"] == (None, None)
    empty = social_sharing(Snapshot({}))
    assert empty.height == len(NETWORKS) + 1
    assert empty.select("shares", "opens", "to_deliver", "sharing_rate").unique().rows() == [(None,) * 4]


def test_nothing_shared_is_0_and_its_rates_are_null():
    found = by_network(instance(), "shares", "share_breakdown", "opens", "open_rate", "sharing_rate")
    assert found["email"] == found[None] == (0, None, 0, None, 0.0)


def test_one_delivery_several_or_all():
    other, proof = {"delivery_id": "8", "to_deliver": 6}, {"delivery_id": "9", "to_deliver": 1, "is_proof": True}
    given = instance(share(), share(delivery_id="8"), share(delivery_id="8"), share(delivery_id="9"),
                     display(delivery_id=None), delivery=[other, proof])  # fmt: skip
    columns = ("shares", "to_deliver", "opens")
    assert by_network(given, *columns, delivery="8")[None] == (2, 6, 0)
    assert by_network(given, *columns, delivery=["7", "8"])[None] == (3, 10, 0)
    # of all, proofs are left out, and a visitor in no delivery still saw a shared page
    assert by_network(given, *columns, delivery=None)[None] == (3, 10, 1)
    assert by_network(given, *columns, delivery="9")[None] == (1, 1, 0)
    with pytest.raises(RequestError, match="no delivery '78'"):
        social_sharing(given, ["7", "78"])


def test_networks_are_those_asked_for_each_once():
    found = social_sharing(instance(share(), share("12")), "7", ["Twitter", "mastodon", "twitter "])
    assert found.select("network", "shares").rows() == [("Twitter", 1), ("mastodon", 0), (None, 1)]


def test_activity_over_time():
    opened = {"link_id": "14", "message_id": "1", "recipient_id": "1"}
    given = instance(
        share(occurred_at=at(23, 30, day=20)), share("12", occurred_at=at(9, day=21)), share(occurred_at=None),
        display(recipient_id="9", occurred_at=at(9, day=21)), display(recipient_id="9", occurred_at=at(10, day=21)),
        display(recipient_id="9", occurred_at=at(9, day=27)), display(occurred_at=at(9, day=27)),
        opened | {"occurred_at": at(9, day=20)}, opened | {"occurred_at": at(9, day=27)},
    )  # fmt: skip
    found = sharing_activity(given, "7", every="day")
    assert found.columns == ["starts_on", "row", "new_contacts", "shared_opens", "opens", "shares", "is_whole"]
    assert found.rows() == [
        (date(2012, 2, 20), "period", 0, 0, 1, 1, True), (date(2012, 2, 21), "period", 1, 2, 0, 1, True),
        (date(2012, 2, 27), "period", 1, 2, 1, 0, True), (None, "undated", 0, 0, 0, 1, None),
        (None, "total", 1, 4, 2, 3, None),  # recipient 9 is one contact, though seen on two days
    ]  # fmt: skip
    # Mondays: 20 and 27 February 2012; half past eleven at night is the next day in Paris, of the same week
    weeks = sharing_activity(given, "7", every="week", timezone="Europe/Paris")
    assert weeks.select("starts_on", "shares").rows()[:2] == [(date(2012, 2, 20), 2), (date(2012, 2, 27), 0)]
    assert weeks["is_whole"].to_list() == [True, False, None, None]  # hits from Monday 20 to Monday 27 February
    days = sharing_activity(given, "7", every="day", timezone="Europe/Paris")
    assert days.select("starts_on", "shares").rows()[:2] == [(date(2012, 2, 20), 0), (date(2012, 2, 21), 2)]
    months = sharing_activity(given, every="month")
    assert months.select("starts_on", "shares").rows() == [(date(2012, 2, 1), 2), (None, 1), (None, 3)]
    assert months["is_whole"].to_list() == [False, None, None]
    assert sharing_activity(given, "7", every="day", last=1).rows() == found.rows()[2:]
    with pytest.raises(RequestError, match=r"no period 'wek'.*week"):
        sharing_activity(given, "7", every="wek")


def test_activity_that_cannot_be_known_is_null():
    untracked = instance(share(), links={"10": LINKS["10"]})
    assert sharing_activity(untracked, "7").rows()[-1] == (None, "total", None, None, 0, 1, None)
    assert sharing_activity(Snapshot({})).rows() == [(None, "total", None, None, None, None, None)]
    assert sharing_activity(instance(), "7").rows() == [(None, "total", 0, 0, 0, 0, None)]


SECOND = """
    WITH acts AS (
        SELECT e.*, lower(trim(link_category)) AS network, coalesce(event_type IN ('web_visited', 'transaction'), false)
            AS is_page, date_trunc('week', timezone('Europe/Paris', occurred_at))::date AS starts_on
        FROM event AS e WHERE NOT coalesce(is_seed, false)
            AND (delivery_id IS NULL OR delivery_id NOT IN (SELECT delivery_id FROM delivery WHERE is_proof))),
    kinds AS (
        SELECT *, CASE
            WHEN network IN ('facebook', 'twitter') AND is_page AND message_id IS NULL AND NOT EXISTS (
                SELECT 1 FROM message AS m WHERE m.delivery_id = a.delivery_id AND m.recipient_id = a.recipient_id)
                THEN 'display'
            WHEN event_type = 'opened' AND delivery_id IS NOT NULL THEN 'open'
            WHEN network IN ('facebook', 'twitter') AND NOT is_page AND delivery_id IS NOT NULL THEN 'share'
            END AS kind
        FROM acts AS a)
"""
NETWORK = SECOND + "SELECT count(*) FILTER (kind = 'share'), count(*) FILTER (kind = 'display') FROM kinds "
ACTIVITY = (
    SECOND
    + """
    SELECT starts_on, count(DISTINCT recipient_id) FILTER (kind = 'display'), count(*) FILTER (kind = 'display'),
        count(*) FILTER (kind = 'open'), count(*) FILTER (kind = 'share')
    FROM kinds WHERE kind IS NOT NULL GROUP BY starts_on ORDER BY starts_on NULLS LAST
"""
)


def randomised(seed: int) -> Snapshot:
    chance = random.Random(seed)
    hits = [
        {"link_id": chance.choice(list(LINKS)), "delivery_id": chance.choice(["7", "7", "8", "9", None]),
         "message_id": chance.choice([None, None, "1"]), "recipient_id": chance.choice([None, *map(str, range(12))]),
         "is_seed": chance.choice([False, False, None, True]),
         "occurred_at": chance.choice([None, *[datetime(2026, 10, 24, 21, 30, tzinfo=UTC)
                                               + timedelta(minutes=chance.randint(0, 60_000))] * 9])}
        for _ in range(500)
    ]  # fmt: skip
    return instance(*hits, delivery=[{"delivery_id": "8"}, {"delivery_id": "9", "is_proof": True}])


@pytest.mark.parametrize("seed", range(5))
def test_the_same_by_a_second_implementation(seed):
    given = randomised(seed)
    with duckdb.connect(":memory:") as database:
        database.execute("SET TimeZone = 'UTC'")
        for name in ("event", "delivery", "message"):
            rows = given.scan(name).with_columns(pl.selectors.enum().cast(pl.String)).collect()
            database.register(name, rows.to_arrow())
        networks = {name: database.execute(NETWORK + "WHERE network = ?", [name]).fetchone() for name in NETWORKS}
        periods = database.execute(ACTIVITY).fetchall()
        total = database.execute(NETWORK).fetchone()
    found = by_network(given, "shares", "opens", delivery=None)
    assert found == networks | {None: total} and total[0] and total[1]
    shown = sharing_activity(given, every="week", timezone="Europe/Paris")
    assert shown.filter(pl.col("row") != "total").drop("row", "is_whole").rows() == periods
