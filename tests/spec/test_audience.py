"""Opens by device, system and browser; visitors, pages and versions; activity folded on the week and the day."""

import random
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from tests.spec.golden import DELIVERY_ID, at, golden, tables
from trackkit.analysis.activities import activity_over_time, folded_activity
from trackkit.analysis.audience import history, opens_by, period, usage, versions
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.report import render
from trackkit.store import open_store

Row = dict[str, object]
# Spec 3.10: visitors of the ten first browsers and of the others, and the rates as printed.
BROWSERS = (2311, 1458, 651, 616, 232, 220, 112, 65, 64, 55, 59)
BROWSER_RATES = [39.55, 24.95, 11.14, 10.54, 3.97, 3.77, 1.92, 1.11, 1.10, 0.94, 1.01]
# Spec 3.11: Windows has 85.42 % of the visitors; its versions, global and relative.
WINDOWS = {"XP": (34.59, 40.49), "NT": (26.25, 30.73), "7": (22.56, 26.41), "2000": (1.12, 1.31), "Vista": (0.91, 1.07)}


def rows_of_hits(*hits: Row) -> Snapshot:
    """Hits of delivery 7 with what is given; an open unless a type is given."""
    common = {"delivery_id": "7", "event_type": "opened", "link_id": "1", "occurred_at": at(12), "is_seed": False}
    return tables(event=[{"event_id": str(n), "message_id": f"m{n}"} | common | hit for n, hit in enumerate(hits)],
                  delivery=[{"delivery_id": "7"}])  # fmt: skip


def click(message: str | None, when: datetime | None, browser: str | None, **more: object) -> Row:
    """A click of one message with one browser."""
    return {"message_id": message, "occurred_at": when, "browser": browser, "event_type": "clicked", "link_id": "5",
            **more}  # fmt: skip


def clicks_of(counts: dict[tuple[str, str | None], int], name: str, version: str) -> Snapshot:
    """A platform where each (name, version) has as many visitors, on one day."""
    total = sum(counts.values())
    return Snapshot({"event": pl.LazyFrame({
        "delivery_id": ["7"] * total, "message_id": [str(n) for n in range(total)], "is_seed": [False] * total,
        "occurred_at": [at(12)] * total, "event_type": ["clicked"] * total, "link_id": ["5"] * total,
        **{other: pl.Series([None] * total, dtype=pl.String) for other in ("browser", "operating_system", "device")},
        name: [key[0] for key, count in counts.items() for _ in range(count)],
        version: pl.Series([key[1] for key, count in counts.items() for _ in range(count)], dtype=pl.String),
    })})  # fmt: skip


class TestUsage:
    """Visitors, pages and rates."""

    def test_the_platforms_screen_of_browsers(self) -> None:
        counts = {(f"b{place:02}", "1"): visitors for place, visitors in enumerate(BROWSERS[:10])}
        counts |= {(f"rare {place}", "1"): 1 for place in range(59)}
        found = usage(clicks_of(counts, "browser", "browser_version"), "browser")
        assert found["visitors"].to_list() == [*BROWSERS, 5843]
        assert [round(100 * rate, 2) for rate in found["usage_rate"]] == [*BROWSER_RATES, 100.0]
        assert found["row"].to_list() == ["group"] * 10 + ["others", "total"]
        assert found["rank"].to_list() == [*range(1, 11), None, None]

    def test_the_platforms_screen_of_operating_systems(self) -> None:
        # One day of 100,000 visitors, so that a hundredth of a percent is ten of them.
        counts: dict[tuple[str, str | None], int] = {
            ("Windows", version): round(of_all * 1000) for version, (of_all, _) in WINDOWS.items()
        }
        counts |= {("Mac OS", None): 7_560, ("Unix", None): 6_250, ("", None): 760}
        tables_ = clicks_of(counts, "operating_system", "operating_system_version")
        found = usage(tables_, "operating_system")
        assert found["name"].to_list() == ["Windows", "Mac OS", "Unix", "", None]
        shown = [100 * rate for rate in found["usage_rate"]]
        assert shown == pytest.approx([85.42, 7.56, 6.25, 0.76, 100.0], abs=0.02)  # printed from unrounded numbers
        of_windows = versions(tables_, "operating_system", of="Windows").drop_nulls("version")
        assert of_windows["version"].to_list() == list(WINDOWS)
        for row in of_windows.iter_rows(named=True):
            of_all, relative = WINDOWS[row["version"]]
            assert 100 * row["global_rate"] == pytest.approx(of_all, abs=0.02)
            assert 100 * row["relative_rate"] == pytest.approx(relative, abs=0.02)

    def test_a_visitor_counts_once_a_day_and_once_in_a_period(self) -> None:
        # a: two pages on one day, one on the next; b: once; one hit of no message; one undated
        tables_ = rows_of_hits(
            click("a", at(9), "Safari"), click("a", at(10), "Safari"), click("a", at(9, day=21), "Safari"),
            click("b", at(9), "Safari"), click(None, at(9), "Safari"), click("c", None, "Safari"),
            click("b", at(9), "Firefox"),
        )  # fmt: skip
        daily = usage(tables_, "browser", "7").row(0, named=True)
        assert (daily["visitors"], daily["pages"], daily["total"], daily["days"]) == (3, 5, 4, 2)
        assert (daily["usage_rate"], daily["visitors_per_day"], daily["pages_per_day"]) == (0.75, 1.5, 2.5)
        once = usage(tables_, "browser", "7", distinct="period").row(0, named=True)
        assert (once["visitors"], once["pages"], once["total"]) == (2, 5, 3)

    def test_only_who_clicked_and_only_real_deliveries(self) -> None:
        kinds = ("opened", "bounced", "clicked", "mirror_page", "unsubscribed", "web_visited", "transaction", "unknown")
        hits = [click(kind, at(9), "Safari", event_type=kind, link_id=None if kind == "bounced" else "5")
                for kind in kinds]  # fmt: skip
        hits += [click("seed", at(9), "Safari", is_seed=True), click("x", at(9), "Safari", delivery_id=None)]
        hits += [click("proof", at(9), "Safari", delivery_id="8"), click("other", at(9), "Safari", delivery_id="9")]
        given_ = rows_of_hits(*hits)
        given_ = Snapshot(dict(given_.frames) | dict(tables(delivery=[
            {"delivery_id": "7"}, {"delivery_id": "8", "is_proof": True}, {"delivery_id": "9"}]).frames))  # fmt: skip
        assert usage(given_, "browser", "7")["pages"].to_list() == [6, 6]
        assert usage(given_, "browser")["pages"].to_list() == [7, 7]
        assert usage(given_, "browser", "8")["pages"].to_list() == [1, 1]

    def test_the_period_ends_with_the_last_hit_of_any_kind_in_the_zone(self) -> None:
        tables_ = rows_of_hits(
            click("a", at(1, day=10), "Safari"), click("b", at(23, 30, day=12), "Safari"),
            {"occurred_at": at(1, day=13)},
        )  # fmt: skip
        assert period(tables_, "7", 0) == (date(2012, 2, 10), date(2012, 2, 13))
        assert period(tables_, "7", 2) == (date(2012, 2, 12), date(2012, 2, 13))
        assert period(tables_, "7", 2, "America/Sao_Paulo") == (date(2012, 2, 11), date(2012, 2, 12))
        assert period(tables_, "7", 100).days == 4
        assert usage(tables_, "browser", "7", days=2)["visitors"].to_list() == [1, 1]
        assert usage(tables_, "browser", "7", days=1)["visitors"].to_list() == [0]

    def test_nothing_is_calm(self) -> None:
        for nothing in (Snapshot({}), rows_of_hits(), rows_of_hits(click("a", None, "Safari"))):
            assert usage(nothing, "browser").select(
                "row", "visitors", "usage_rate", "days", "visitors_per_day"
            ).rows() == [("total", 0, None, 0, None)]
            assert versions(nothing, "browser").is_empty() and history(nothing, "browser").is_empty()
        assert opens_by(Snapshot({}), "device").select("row", "opens", "share", "mobile_share").rows() == [
            ("total", 0, None, None)
        ]


def test_history_is_the_share_of_that_days_visitors() -> None:
    # 20th: a and b with Safari, b also with Firefox, so two visitors; 21st: c with Firefox; the 22nd nobody.
    tables_ = rows_of_hits(
        click("a", at(9), "Safari"), click("b", at(9), "Safari"), click("b", at(10), "Firefox"),
        click("c", at(9, day=21), "Firefox"), {"occurred_at": at(9, day=22)},
    )  # fmt: skip
    assert history(tables_, "browser", "7").rows() == [
        (date(2012, 2, 20), 1, "Firefox", 1, 2, 0.5, 1, 2, 0.5),
        (date(2012, 2, 20), 2, "Safari", 2, 2, 1.0, 2, 2, 1.0),
        (date(2012, 2, 21), 1, "Firefox", 1, 1, 1.0, 2, 3, 2 / 3),
        (date(2012, 2, 21), 2, "Safari", 0, 1, 0.0, 2, 3, 2 / 3),
    ]
    assert history(tables_, "browser", "7", top=1)["name"].unique().to_list() == ["Firefox"]


def test_versions_of_a_name_after_ten_are_one_row() -> None:
    counts: dict[tuple[str, str | None], int] = {("Safari", str(number)): 20 - number for number in range(12)}
    found = versions(clicks_of(counts, "browser", "browser_version"), "browser")
    assert found.height == 11
    assert found.row(-1, named=True) == {
        "name": "Safari", "row": "others", "version": None, "visitors": 10 + 9, "name_visitors": 174,
        "relative_rate": 19 / 174, "total": 174, "global_rate": 19 / 174,
    }  # fmt: skip


class TestOpens:
    """Opens by what they were made with."""

    def test_computers_mobiles_and_what_is_unknown(self) -> None:
        devices = ["PC"] * 5 + ["Mac"] * 2 + ["iPhone"] * 4 + ["iPad"] + [None] * 3 + ["Spider"]
        found = opens_by(rows_of_hits(*({"device": device} for device in devices)), "device", "7", top=4)
        columns = ("rank", "row", "name", "opens", "share", "mobile", "mobile_share", "computer", "unknown")
        assert found.select(columns).rows() == [
            (1, "group", "PC", 5, 5 / 16, 0, 0.0, 5, 0),
            (2, "group", "iPhone", 4, 4 / 16, 4, 4 / 5, 0, 0),
            (3, "group", None, 3, 3 / 16, 0, 0.0, 0, 3),
            (4, "group", "Mac", 2, 2 / 16, 0, 0.0, 2, 0),
            (None, "others", None, 2, 2 / 16, 1, 1 / 5, 0, 1),
            (None, "total", None, 16, 1.0, 5, 1.0, 7, 4),
        ]
        assert found["total"].unique().to_list() == [16] and found["mobile_total"].unique().to_list() == [5]

    def test_the_platforms_rules_for_apple_mail(self) -> None:
        rules = [
            ("AppleWebKit", "iOS", None, "Apple Mail"), ("AppleWebKit", None, "iPod", "Apple Mail"),
            ("AppleWebKit", "Mac OS", "Mac", "Apple Mail"), ("AppleWebKit", "Mac OS", "PC", "Apple Mail"),
            ("AppleWebKit", "OS X / iOS (Apple)", None, "Apple Mail"), ("AppleWebKit", "Windows", "PC", "AppleWebKit"),
            ("AppleWebKit", None, None, "AppleWebKit"), ("Safari", "Mac OS", "PC", "Safari"),
            ("Safari", "iOS", "iPhone", "Safari"), ("Mozilla", None, None, "Mozilla"), (None, "iOS", "iPhone", None),
        ]  # fmt: skip
        for browser, system, device, name in rules:
            hit = {"browser": browser, "operating_system": system, "device": device}
            assert opens_by(rows_of_hits(hit), "browser", "7")["name"][0] == name, hit

    def test_only_opens_count_and_undated_ones_where_no_period_is_asked_for(self) -> None:
        given_ = rows_of_hits({}, {"occurred_at": None}, {"occurred_at": at(9, day=15)}, click("a", at(9), "Safari"))
        assert opens_by(given_, "browser", "7")["opens"].to_list() == [3, 3]
        assert opens_by(given_, "browser", "7", days=2)["opens"].to_list() == [1, 1]

    def test_the_golden_example(self) -> None:
        assert opens_by(golden(), "device", DELIVERY_ID).select("name", "opens", "unknown").rows() == [
            (None, 4, 4), (None, 4, 4)
        ]  # fmt: skip


class TestActivities:
    """When things happened, by the clock."""

    def test_the_golden_example_is_on_a_monday_at_three(self) -> None:
        by_day = folded_activity(golden(), DELIVERY_ID)  # 2012-02-20
        assert by_day.height == 21 and by_day.filter(pl.col("count") > 0).select("slot", "series", "count").rows() == [
            (0, "opens", 4), (0, "clicks", 15),
        ]  # fmt: skip
        by_half = folded_activity(golden(), DELIVERY_ID, "half_hour", "Asia/Kolkata")  # 15:01 UTC is 20:31 there
        assert by_half.filter(pl.col("count") > 0).select("slot", "series", "count", "total", "share").rows() == [
            (41, "opens", 4, 4, 1.0), (41, "clicks", 15, 15, 1.0),
        ]  # fmt: skip
        assert by_half.height == 48 * 3 and by_half.filter(series="transactions")["share"].null_count() == 48

    def test_weeks_are_laid_over_each_other_and_the_timeline_is_not(self) -> None:
        when = [at(23, 59, day=20), at(9, day=27), at(0, 30, day=21), None]
        given_ = rows_of_hits(*({"occurred_at": one} for one in when))
        assert folded_activity(given_, "7", series="opens")["count"].to_list() == [2, 1, 0, 0, 0, 0, 0]
        assert activity_over_time(given_, "7", "half_hour").rows() == [
            (at(23, 30, day=20), "opens", 1), (at(0, 30, day=21), "opens", 1), (at(9, day=27), "opens", 1)
        ]  # fmt: skip
        in_tokyo = activity_over_time(given_, "7", "day", "Asia/Tokyo")
        assert [moment.date() for moment in in_tokyo["starts_at"]] == [date(2012, 2, 21), date(2012, 2, 27)]

    def test_the_hour_that_the_clocks_show_twice_is_one_hour_of_the_day(self) -> None:
        paris = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]  # 02:30 summer time, 02:30 again
        given_ = rows_of_hits(*({"occurred_at": one} for one in paris))
        folded = folded_activity(given_, "7", "hour", "Europe/Paris", "opens")
        assert folded.filter(pl.col("count") > 0).select("slot", "count").rows() == [(2, 2)]
        assert activity_over_time(given_, "7", "hour", "Europe/Paris").height == 2

    def test_the_fold_adds_up_to_the_timeline(self) -> None:
        given_ = random_platform(5)
        for every in ("half_hour", "hour", "day"):
            folded = folded_activity(given_, "7", every, "Europe/Paris").group_by("series").agg(pl.col("count").sum())
            flat = activity_over_time(given_, "7", every, "Europe/Paris").group_by("series").agg(pl.col("count").sum())
            assert dict(folded.filter(pl.col("count") > 0).iter_rows()) == dict(flat.iter_rows())


def random_platform(seed: int, hits: int = 900) -> Snapshot:
    """Deliveries 7 and 9 and the proof 8 over eleven days, every kind of hit and agent, undated and seed hits too."""
    chance = random.Random(seed)
    start = datetime(2026, 10, 20, 21, 40, tzinfo=UTC)
    kinds = ["opened"] * 4 + ["clicked"] * 4 + ["mirror_page", "web_visited", "transaction", "unknown", "bounced", None]
    events = [
        {"event_id": str(number), "delivery_id": chance.choice(["7", "7", "9", "8", None]),
         "message_id": chance.choice([None, *(f"m{n}" for n in range(40))]),
         "event_type": (kind := chance.choice(kinds)),
         "link_id": "1" if kind == "opened" else chance.choice(["5", "6", "6", None]),
         "occurred_at": chance.choice([None] + [start + timedelta(minutes=chance.randint(0, 11 * 1440))] * 12),
         "is_seed": chance.choice([False] * 9 + [True]),
         "device": chance.choice(["PC", "Mac", "iPhone", "Spider", None]),
         "operating_system": chance.choice(["Windows", "iOS", "Mac OS", None]),
         "operating_system_version": chance.choice(["10", "7", None]),
         "browser": chance.choice(["Safari", "AppleWebKit", "Firefox", None]),
         "browser_version": chance.choice(["1", "2", None])} for number in range(hits)
    ]  # fmt: skip
    deliveries = [{"delivery_id": "7"}, {"delivery_id": "8", "is_proof": True}, {"delivery_id": "9"}]
    return tables(event=events, delivery=deliveries)


NAMED = """
    create view scope as select *, case
        when '{by}' = 'device' then device when '{by}' = 'operating_system' then operating_system
        when browser = 'AppleWebKit' and (operating_system in ('iOS', 'Mac OS') or device in ('iPhone', 'iPad', 'iPod'))
        then 'Apple Mail' else browser end as name,
        delivery_id || ' ' || message_id as visitor,
        case '{by}' when 'browser' then browser_version else operating_system_version end as version,
        (occurred_at at time zone 'UTC' at time zone '{zone}')::date as day
    from event where not is_seed and coalesce(event_type, '') <> 'bounced' and ({scope});
    create view hits as select * from scope where day is not null and day > (select max(day) from scope) - {days}
        and coalesce(event_type, '') <> 'opened' and (link_id is not null or coalesce(event_type, '') = 'clicked');
"""
SCOPES = {"7": "delivery_id = '7'", "": "delivery_id is not null and delivery_id <> '8'"}


def second(seed: int, **holes: object) -> duckdb.DuckDBPyConnection:
    """The same questions in SQL, over instants without a zone, so that only the SQL turns them into days."""
    database = duckdb.connect(":memory:")
    database.execute("set timezone = 'UTC'")
    events = random_platform(seed).scan("event").collect()
    plain = events.with_columns(pl.col("event_type").cast(pl.String), pl.col("occurred_at").dt.replace_time_zone(None))
    database.register("event", plain.drop("reported_type", "message_format").to_arrow())
    database.execute(NAMED.format(**holes))
    return database


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("delivery", SCOPES)
@pytest.mark.parametrize(("by", "days", "zone"), [("browser", 183, "UTC"), ("operating_system", 4, "Europe/Paris")])
def test_visitors_by_a_second_implementation(seed: int, delivery: str, by: str, days: int, zone: str) -> None:
    given_ = random_platform(seed)
    with second(seed, by=by, zone=zone, scope=SCOPES[delivery], days=days) as database:
        daily = "select name, sum(v)::bigint, sum(p)::bigint from (select name, day, count(distinct visitor) v, " \
                "count(*) p from hits group by all) group by all order by 2 desc, name nulls last"  # fmt: skip
        expected = database.execute(daily).fetchall()
        once = "select name, count(distinct visitor), count(*) from hits group by all order by 2 desc, 1 nulls last"
        expected_once = database.execute(once).fetchall()
        by_version = database.execute(
            "select name, version, sum(v)::bigint from (select name, version, day, count(distinct visitor) v "
            "from hits group by all) group by all having sum(v) > 0").fetchall()  # fmt: skip
        rates = database.execute(
            "select day, name, count(distinct visitor), any_value(w), count(distinct visitor) / any_value(w) "
            "from hits join (select day, count(distinct visitor) w from hits group by all) using (day) "
            "group by day, name having any_value(w) > 0").fetchall()  # fmt: skip
    options = {"delivery": delivery, "days": days, "timezone": zone}
    shown = usage(given_, by, **options)
    assert shown.filter(row="group").select("name", "visitors", "pages").rows() == expected
    assert shown.filter(row="total").select("visitors", "pages").row(0) == tuple(
        sum(row[place] for row in expected) for place in (1, 2)
    )
    once_shown = usage(given_, by, distinct="period", **options).filter(row="group")
    assert once_shown.select("name", "visitors", "pages").rows() == expected_once
    found = versions(given_, by, **options)
    assert set(found.select("name", "version", "visitors").rows()) == set(by_version)
    drawn = history(given_, by, top=10, **options)
    assert sorted(drawn.filter(pl.col("visitors") > 0).select("day", "name", "visitors", "day_visitors", "rate").rows(),
                  key=str) == sorted((row for row in rates if row[2]), key=str)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by", ["device", "operating_system", "browser"])
def test_opens_by_a_second_implementation(seed: int, by: str) -> None:
    with second(seed, by=by, zone="UTC", scope=SCOPES["7"], days=1) as database:
        expected = database.execute(
            "select name, count(*), count(*) filter (device not in ('PC', 'Mac', 'Spider')), "
            "count(*) filter (device in ('PC', 'Mac')) from scope where event_type = 'opened' "
            "group by all order by 2 desc, name nulls last").fetchall()  # fmt: skip
    found = opens_by(random_platform(seed), by, "7")
    assert found.filter(row="group").select("name", "opens", "mobile", "computer").rows() == expected
    assert (found["computer"] + found["mobile"] + found["unknown"]).equals(found["opens"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 5)), max_size=30), st.integers(1, 4))
def test_rates_add_up_whatever_is_shown(given_: list[tuple[str, int]], top: int) -> None:
    hits = rows_of_hits(
        *(click(f"m{number % 7}", at(9, day=1 + day), name) for number, (name, day) in enumerate(given_))
    )
    found = usage(hits, "browser", "7", top=top)
    parts, total = found.filter(pl.col("row") != "total"), found["visitors"][-1]
    assert parts["visitors"].sum() == total and parts["pages"].sum() == found["pages"][-1] == len(given_)
    assert parts["usage_rate"].sum() == pytest.approx(1) if total else parts.is_empty()
    assert parts.height <= top + 1


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: usage(golden(), "browsers"), "Did you mean 'browser'"),
        (lambda: usage(golden(), "browser", "23"), "'230'"),
        (lambda: usage(golden(), "browser", days=-1), "got -1"), (lambda: usage(golden(), "browser", top=0), "got 0"),
        (lambda: usage(golden(), "browser", distinct="week"), "day or by period"),
        (lambda: usage(golden(), "browser", timezone="Paris"), "no time zone 'Paris'"),
        (lambda: versions(rows_of_hits(click("a", at(9), "Safari")), "browser", of="Safar"), "Did you mean 'Safari'"),
        (lambda: folded_activity(golden(), DELIVERY_ID, "hours"), "Did you mean 'hour'"),
        (lambda: folded_activity(golden(), DELIVERY_ID, series="open"), "Did you mean 'opens'"),
        (lambda: activity_over_time(golden(), "23"), "Did you mean '230'"),
    ],
)  # fmt: skip
def test_what_has_no_answer_is_refused(ask, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        ask()


CARDS = {"user_activities": 3, "breakdown_of_opens": 5, "browsers": 4, "operating_systems": 4}


@pytest.fixture(scope="module")
def few_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two deliveries: one all in text without a hit, one with a click of nobody known; and no other table."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "raw").mkdir()
    (folder / "raw" / "delivery.csv").write_text("iDeliveryId,sLabel,iToDeliver,iText\n7,Quiet,3,3\n8,Odd,3,0\n")
    (folder / "raw" / "tracking_log.csv").write_text(
        "iTrackingLogId,tsLog,iUrlId,iBroadLogId,iDeliveryId,iUserAgent\n1,2026-11-01 09:00:00,5,0,8,0\n"
    )
    open_store(folder / "store").ingest(str(folder / "raw"))
    return folder / "store"


@pytest.mark.parametrize("report", CARDS)
@pytest.mark.parametrize(("delivery", "lang"), [("7", "en"), ("8", "pt_BR")])
def test_a_report_of_nothing_is_calm(few_tables: Path, tmp_path: Path, report: str, delivery: str, lang: str) -> None:
    page = LexborHTMLParser(render(report, few_tables, tmp_path, delivery=delivery, lang=lang).read_text("utf-8"))
    page.strip_tags(["script"])  # the raw data of tables, where what is unknown is null
    shown = " ".join(node.text(separator=" ") for node in page.css("header, section"))
    assert not re.search(r"\b(NaN|None|null|nan|inf)\b", shown)
    assert len(page.css("section")) == CARDS[report]
    assert not [table for table in page.css("table") if not table.css("tbody tr")], "a table without a row says nothing"


def test_a_report_of_the_whole_platform_needs_no_delivery(few_tables: Path, tmp_path: Path) -> None:
    for report in ("browsers", "operating_systems"):
        assert "platform" in render(report, few_tables, tmp_path).name
    with pytest.raises(RequestError, match="needs a delivery"):
        render("user_activities", few_tables, tmp_path)
