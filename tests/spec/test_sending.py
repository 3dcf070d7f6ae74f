"""How a delivery is sent: exclusions, throughput, pace, bounces both ways, mail domains in classes."""

import random
from datetime import timedelta

import duckdb
import polars as pl
import pytest

from tests.spec.golden import at, tables
from trackkit import schema
from trackkit.analysis.bounces import bounces, failures
from trackkit.analysis.domains import by_class, class_of, domain_list
from trackkit.analysis.sending import exclusions, pace, throughput
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

KEY = "230"
DEADLINE = at(18)
REASONS = {reason: code for code, reason in schema.FAILURE_REASONS.items()}


def sent(*counts: tuple, **delivery) -> Snapshot:
    """Messages given as (how many, domain, status, reason); fast, since the platform's screens hold 800,000."""
    columns = {"times": pl.Int64, "domain": pl.String, "status": pl.String, "failure_reason": pl.Int16}
    rows = pl.DataFrame([(*row, None)[:4] for row in counts], schema=columns, orient="row")
    messages = rows.select(pl.exclude("times").repeat_by("times").explode()).with_row_index("message_id")
    messages = messages.with_columns(
        pl.col("message_id").cast(pl.String), delivery_id=pl.lit(KEY), is_seed=pl.lit(False), status_at=pl.lit(at(15))
    )
    rest = {name: pl.lit(None, dtype) for name, dtype in schema.MESSAGE.schema.items() if name not in messages.columns}
    frames = {"message": messages.lazy().with_columns(**rest)}
    row = {"delivery_id": KEY} | delivery
    return Snapshot(frames | {"delivery": pl.LazyFrame([row], schema=schema.DELIVERY.schema)})


def rounded(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)


class TestTheScreensOfThePlatform:
    """Spec 3.5, 3.6 and 3.7: counts and percentages as printed."""

    def test_delivery_summary(self):
        screen = sent(
            (1602, "post.example", "delivered"), (1, "post.example", "failed", 5),
            targeted=1754, rejected=151, to_deliver=1603, new_quarantines=0,
        )  # fmt: skip
        names = ["rejection_rate", "delivered_with_seeds", "failed", "failure_rate", "new_quarantine_rate"]
        row = measure(screen, names).to_dicts()[0]
        assert (row["targeted"], row["rejected"], row["to_deliver"]) == (1754, 151, 1603)
        assert (row["delivered_with_seeds"], row["failed"], row["new_quarantines"]) == (1602, 1, 0)
        assert rounded(row["rejection_rate"]) == 8.61
        assert rounded(row["delivered_with_seeds"] / row["to_deliver"]) == 99.94
        assert (rounded(row["failure_rate"]), row["new_quarantine_rate"]) == (0.06, 0.0)

    TYPES = (
        ("User unknown", 4662, 12.01, 0.68), ("Invalid domain", 429, 1.11, 0.06),
        ("Unreachable", 30113, 77.59, 4.37), ("Account disabled", 193, 0.50, 0.03),
        ("Inbox full", 2126, 5.48, 0.31), ("Not connected", 0, 0.0, 0.0), ("Rejected", 1287, 3.32, 0.19),
    )  # fmt: skip

    def test_bounces_by_type(self):
        failed = [(count, "a.example", "failed", REASONS[kind]) for kind, count, _, _ in self.TYPES]
        found = bounces(sent(*failed, (689131 - 38810, "a.example", "delivered")), KEY)
        groups = found.filter(pl.col("row") == "group").select("type", "errors", "contribution", "breakdown")
        assert [(*row[:2], *map(rounded, row[2:])) for row in groups.rows()] == list(self.TYPES)
        total = found.filter(pl.col("row") == "total").to_dicts()[0]
        assert (total["errors"], total["contribution"], rounded(total["breakdown"])) == (38810, 1.0, 5.63)
        assert "seven" not in found["row"]

    def test_bounces_by_domain(self):
        # The messages processed of each domain are those of the screen 3.7, but for the others, which make up the sum.
        processed = {"hotmail.com": 1133, "yahoo.com": 2020, "aol.com": 838, "gmail.com": 3358, "msn.com": 355}
        errors = {"hotmail.com": 2, "yahoo.com": 2, "aol.com": 1, "gmail.com": 5, "msn.com": 0}
        rest = 689131 - sum(processed.values())
        rows = [(count, domain, "failed", 3) for domain, count in errors.items()]
        rows += [(processed[domain] - count, domain, "delivered") for domain, count in errors.items()]
        rows += [(38800, "rest.example", "failed", 3), (rest - 38800, "rest.example", "delivered")]
        found = bounces(sent(*rows), KEY, by="domain").filter(pl.col("row") == "group")
        shares = {row["domain"]: (row["errors"], rounded(row["contribution"]), rounded(row["breakdown"]))
                  for row in found.to_dicts()}  # fmt: skip
        assert shares == {
            "rest.example": (38800, 99.97, 5.69), "Gmail": (5, 0.01, 0.15), "Yahoo!": (2, 0.01, 0.10),
            "Hotmail/Outlook": (2, 0.01, 0.18), "AOL": (1, 0.00, 0.12), "MSN": (0, 0.0, 0.0),
        }  # fmt: skip

    def test_a_type_opened_by_domain(self):
        # Spec 3.6: Unreachable 2176 of about 22,500 processed.
        errors = {"hotmail.com": 18, "yahoo.com": 17, "aol.com": 133, "gmail.com": 206, "x.example": 1802}
        rows = [(count, domain, "failed", 3) for domain, count in errors.items()]
        found = bounces(sent(*rows, (22_500 - 2176, "x.example", "delivered")), KEY)
        details = found.filter(pl.col("row") == "detail")
        shares = details.select("domain", "contribution", "breakdown").rows()
        assert [(domain, rounded(contribution), rounded(breakdown)) for domain, contribution, breakdown in shares] == [
            ("x.example", 82.81, 8.01), ("Gmail", 9.47, 0.92), ("AOL", 6.11, 0.59), ("Hotmail/Outlook", 0.83, 0.08),
            ("Yahoo!", 0.78, 0.08),
        ]  # fmt: skip

    def test_a_domain_opened_by_type(self):
        errors = {1: 5620, 2: 423, 3: 32019, 4: 193, 5: 2892, 20: 1284}
        rows = [(count, "gmail.com", "failed", reason) for reason, count in errors.items()]
        details = bounces(sent(*rows), KEY, by="domain").filter(pl.col("row") == "detail")
        assert [rounded(share) for share in details["contribution"]] == [13.25, 1.0, 75.46, 0.45, 6.82, 3.03]
        # The ten others of the 42441 are in no type there; here they are "Other", and in what shares are out of.
        found = bounces(sent(*rows, (10, "gmail.com", "failed", 8)), KEY, by="domain")
        assert found.filter(pl.col("type") == "Other").select("errors", "contribution_of").rows() == [(10, 42441)]

    DOMAINS = (
        ("MSN", "msn.com", 355, 100.00, 0.00, 0.00), ("AOL", "aol.com", 838, 99.88, 0.00, 0.12),
        ("Hotmail/Outlook", "hotmail.com", 1133, 99.82, 0.18, 0.00), ("Yahoo!", "yahoo.fr", 2020, 99.90, 0.10, 0.00),
        ("Gmail", "googlemail.com", 3358, 99.85, 0.00, 0.15),
        ("rest.example", "rest.example", 760086, 93.23, 0.76, 5.36),
    )  # fmt: skip

    def test_delivery_statistics(self):
        rows = []
        for _, domain, processed, delivered, hard, soft in self.DOMAINS:
            counts = [round(processed * share / 100) for share in (delivered, hard, soft)]
            rows += [
                (counts[0], domain, "delivered"),
                (counts[1], domain, "failed", 1),
                (counts[2], domain, "failed", 20),
            ]
            rows += [(processed - sum(counts), domain, "failed", 8)]
        names = ["processed", "acceptance_rate", "hard_bounce_rate", "soft_bounce_rate"]
        screen = sent(*rows)
        found = {
            row["domain"]: row for row in measure(by_class(screen, KEY), names, by="domain", delivery=KEY).to_dicts()
        }
        for name, _, processed, *shares in self.DOMAINS:
            assert found[name]["processed"] == processed
            assert [rounded(found[name][rate]) for rate in names[1:]] == pytest.approx(shares, abs=0.011)
        total = measure(screen, names).to_dicts()[0]
        assert total["processed"] == 767790
        assert [rounded(total[rate]) for rate in names[1:]] == [93.30, 0.75, 5.31]


class TestDomains:
    """Classes of the list, registered domains, the largest and the others."""

    @pytest.mark.parametrize(
        ("domain", "expected"),
        [
            ("gmail.com", "Gmail"), ("googlemail.com", "Gmail"), ("eu.yahoo.co.uk", "Yahoo!"),
            ("mail.shop.co.uk", "shop.co.uk"), ("a.b.example", "b.example"), ("notgmail.com", "notgmail.com"),
            ("co.uk", "co.uk"), ("localhost", "localhost"), ("10.0.0.1", "10.0.0.1"), ("[10.0.0.1]", "[10.0.0.1]"),
            ("post.bücher.de", "xn--bcher-kva.de"), ("a..b.com", "a..b.com"), ("<b>.com", "<b>.com"),
            ("mail.city.kawasaki.jp", "city.kawasaki.jp"), ("x.y.kawasaki.jp", "x.y.kawasaki.jp"),
            ("blog.blogspot.com", "blogspot.com"), ("x" * 300 + ".com", "x" * 300 + ".com"),
        ],
    )  # fmt: skip
    def test_class_of_a_domain(self, domain, expected):
        assert class_of(domain, domain_list().by_domain) == expected

    def test_people_are_told_apart_within_the_others_never_added(self):
        hits = [("a.example", "p"), ("b.example", "p"), ("c.example", "p"), ("mail.a.example", "p"), (None, "q")]
        events = [{"delivery_id": KEY, "event_id": str(number), "event_type": "clicked", "person_id": person,
                   "domain": domain} for number, (domain, person) in enumerate(hits)]  # fmt: skip
        found = measure(by_class(tables(event=events), KEY, top=1), "unique_people_clicks", by="domain", delivery=KEY)
        assert found.with_columns(pl.col("domain").cast(pl.String)).rows() == [
            ("a.example", 1),
            ("Others", 1),
            (None, 1),
        ]

    def test_a_lone_class_beyond_the_top_stays_itself(self):
        given = sent((3, "a.example", "delivered"), (2, "b.example", "delivered"), (1, "c.example", "delivered"))
        shown = [
            by_class(given, KEY, top).scan("message").collect()["domain"].cast(pl.String).unique() for top in (1, 2)
        ]
        assert [sorted(names) for names in shown] == [["Others", "a.example"], ["a.example", "b.example", "c.example"]]

    def test_failures_can_rank(self):
        given = sent((9, "a.example", "delivered"), (2, "b.example", "failed", 1), (1, "c.example", "failed", 1))
        found = measure(by_class(given, KEY, 1, "failures"), "failed", by="domain", delivery=KEY)
        assert found.with_columns(pl.col("domain").cast(pl.String)).rows() == [("b.example", 2), ("Others", 1)]

    def test_only_the_deliveries_asked_for_rank(self):
        other = {"delivery_id": "8", "message_id": "x", "domain": "z.example", "status": "delivered"}
        both = tables(message=[other, {**other, "delivery_id": KEY, "message_id": "y", "domain": "a.example"}])
        assert by_class(both, KEY).scan("message").collect()["domain"].to_list() == ["a.example"]
        assert by_class(both).scan("message").collect().height == 2

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[clases]\nA = ['a.com']", "no such key. Did you mean 'classes'?"),
            ("", "key 'classes': it is needed"),
            ("[classes]\nA = ['A.com']", "key 'classes.A.0': 'A.com' is not a mail domain in small letters"),
            ("[classes]\nA = ['com']", "is not a mail domain"),
            ("[classes]\nA = []", "key 'classes.A'"),
            ("[classes]\nA = 'a.com'", "key 'classes.A'"),
            ("[classes]\nA = ['a.com']\nB = ['a.com']", "'a.com' is in the class 'A' and in 'B'"),
            ("[classes]\nOthers = ['a.com']", "the name 'Others' is kept"),
            ("[classes", "is not TOML"),
        ],
    )
    def test_a_wrong_list_is_refused_by_file_and_key(self, tmp_path, text, said):
        path = tmp_path / "domains.toml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RequestError) as refused:
            domain_list(path)
        assert str(refused.value).startswith(str(path)) and said in str(refused.value)

    @pytest.mark.parametrize("wrong", [{"top": 0}, {"top": True and 1.5}, {"ranked_by": "failure"}])
    def test_what_cannot_be_is_refused(self, wrong):
        with pytest.raises(RequestError):
            by_class(tables(), KEY, **wrong)


class TestExclusions:
    """Who was left out at analysis."""

    def test_by_rule_the_rest_and_the_total(self):
        rules = ["Double", "Double", "9", " ", None]
        rows = [{"delivery_id": KEY, "recipient_id": str(n), "rule": rule} for n, rule in enumerate(rules)]
        given = tables(exclusion=rows, delivery=[{"delivery_id": KEY, "targeted": 40, "rejected": 8}])
        assert exclusions(given, KEY).select("row", "rule", "recipients", "contribution", "share").rows() == [
            ("rule", "(no rule named)", 2, 0.25, 0.05), ("rule", "Double", 2, 0.25, 0.05),
            ("rule", "Address in quarantine", 1, 0.125, 0.025),
            ("unlisted", "(rule not in the data loaded)", 3, 0.375, 0.075), ("total", None, 8, 1.0, 0.2),
        ]  # fmt: skip

    def test_without_the_list_only_the_total_and_without_both_nothing(self):
        stated = tables(delivery=[{"delivery_id": KEY, "targeted": 40, "rejected": 8}])
        assert exclusions(stated, KEY)["recipients"].to_list() == [8, 8]
        unknown = tables(delivery=[{"delivery_id": KEY}])
        assert exclusions(unknown, KEY).select("row", "recipients", "share").rows() == [("total", None, None)]

    def test_none_left_out(self):
        given = tables(delivery=[{"delivery_id": KEY, "targeted": 4, "rejected": 0}], exclusion=[])
        assert exclusions(given, KEY).select("row", "recipients", "contribution", "share").rows() == [
            ("total", 0, None, 0.0)
        ]


def message(number: int, instant, status: str = "delivered", **more) -> dict:
    return {"delivery_id": KEY, "message_id": str(number), "status_at": instant, "status": status,
            "domain": "a.example"} | more  # fmt: skip


class TestThroughput:
    """How fast messages went out."""

    def test_messages_per_hour_and_bits_per_second(self):
        rows = [message(n, at(15, n)) for n in range(6)] + [message(9, at(15, 3), "failed"), message(10, at(16, 30))]
        rows += [message(11, None), message(12, at(15), "pending"), message(13, at(23), "failed")]
        given = tables(message=rows, delivery=[{"delivery_id": KEY, "message_size": 900}])
        # Six in ten minutes are 36 an hour; 900 bytes are 7,200 bits, times six over 600 seconds.
        assert throughput(given, KEY, "10m").rows() == [
            (at(15), 600, "success", 6, 36.0, 72.0), (at(15), 600, "errors", 1, 6.0, 12.0),
            (at(16, 30), 600, "success", 1, 6.0, 12.0),
        ]  # fmt: skip
        assert throughput(given, KEY, "3h", hours=12)["messages"].to_list() == [7, 1, 1]  # the late bounce as well

    def test_the_period_ends_before_launch_plus_hours(self):
        rows = [message(1, at(15)), message(2, at(15, 59, 59)), message(3, at(16))]
        given = tables(message=rows, delivery=[{"delivery_id": KEY, "started_at": at(15)}])
        assert throughput(given, KEY, "1h", hours=1)["messages"].to_list() == [2]

    def test_a_day_is_of_the_zone_and_may_have_25_hours(self):
        autumn = [message(n, at(3 + n).replace(month=10, day=28)) for n in range(2)]
        found = throughput(tables(message=autumn), KEY, "24h", timezone="Europe/Paris")
        assert found.select("seconds", "messages", "messages_per_hour").rows() == [(90_000, 2, 2 / 25)]

    def test_unknown_size_is_null_and_auto_is_the_shortest_that_fits(self):
        minutes = [message(n, at(15) + timedelta(minutes=n)) for n in range(72)]
        found = throughput(tables(message=minutes), KEY)
        assert found["seconds"].unique().to_list() == [60] and found["bits_per_second"].null_count() == 72
        longer = [message(n, at(10) + timedelta(minutes=10 * n)) for n in range(72)]
        assert throughput(tables(message=longer), KEY)["seconds"].unique().to_list() == [600]

    @pytest.mark.parametrize("wrong", [{"every": "2h"}, {"hours": 0}, {"timezone": "Mars"}])
    def test_what_cannot_be_is_refused(self, wrong):
        with pytest.raises(RequestError):
            throughput(tables(message=[message(1, at(15))]), KEY, **wrong)


class TestPace:
    """Progress, pace and projection."""

    def running(self, *more, state=55, validity=DEADLINE, loaded=None, **delivery) -> dict:
        # Ten successes and two errors in half an hour are 24 an hour; a bounce hours later is no part of the pace.
        rows = [message(n, at(15, 3 * (n + 1))) for n in range(10)]
        rows += [message(20 + n, at(15, 5), "failed") for n in range(2)] + [message(30, at(21), "failed"), *more]
        facts = {"delivery_id": KEY, "state": state, "started_at": at(15), "validity_at": validity, "to_deliver": 61}
        given = tables(message=rows, delivery=[facts | delivery])
        return pace(Snapshot(given.frames, loaded), KEY).to_dicts()[0]

    PENDING = tuple(message(100 + n, at(15), "pending") for n in range(48))

    def test_in_time(self):
        row = self.running(*self.PENDING, loaded=at(15, 31))
        assert (row["processed"], row["pending"], row["sent"], row["busiest_hour"]) == (13, 48, 12, 12)
        assert (row["messages_per_hour"], row["hours_needed"]) == (24.0, 2.0)
        assert (row["ends_at"], row["outlook"], row["phase"]) == (at(17, 30), "in time", "running")

    def test_late(self):
        assert self.running(*self.PENDING, validity=at(17, 29))["outlook"] == "late"

    def test_what_the_data_has_refuted_is_not_projected(self):
        overdue = self.running(*self.PENDING, loaded=at(18, 1))
        assert (overdue["outlook"], overdue["ends_at"], overdue["hours_needed"]) == ("overdue", None, 2.0)
        behind = self.running(*self.PENDING, loaded=at(17, 31))
        assert (behind["outlook"], behind["ends_at"]) == ("behind", None)

    def test_unknown_deadline(self):
        row = self.running(*self.PENDING, validity=None)
        assert (row["ends_at"], row["outlook"]) == (at(17, 30), None)

    def test_paused(self):
        row = self.running(*self.PENDING, state=75)
        assert (row["phase"], row["hours_needed"], row["ends_at"], row["outlook"]) == ("paused", 2.0, None, None)

    @pytest.mark.parametrize(("state", "phase"), [(95, "over"), (85, "over"), (55, "running"), (None, None), (3, None)])
    def test_nothing_pending_needs_no_time(self, state, phase):
        row = self.running(state=state)
        assert (row["phase"], row["hours_needed"], row["ends_at"], row["outlook"]) == (phase, None, None, None)

    def test_a_stopped_delivery_is_not_projected(self):
        row = self.running(*self.PENDING, state=85, loaded=at(23))
        assert (row["pending"], row["ends_at"], row["outlook"]) == (48, None, None)

    def test_without_a_success_there_is_no_pace(self):
        waiting = tables(
            message=list(self.PENDING), delivery=[{"delivery_id": KEY, "state": 55, "validity_at": at(18)}]
        )
        row = pace(waiting, KEY).to_dicts()[0]
        assert (row["pending"], row["messages_per_hour"], row["busiest_hour"], row["outlook"]) == (48, None, None, None)

    def test_without_messages_all_is_unknown(self):
        row = pace(tables(delivery=[{"delivery_id": KEY, "to_deliver": 5}]), KEY).to_dicts()[0]
        assert row["to_deliver"] == 5 and row["processed"] is None and row["pending"] is None and row["sent"] is None


class TestBounces:
    """What failed, and why."""

    def test_other_reasons_are_one_type_more_and_both_totals_are_there(self):
        found = bounces(sent((3, "a.example", "failed", 1), (1, "a.example", "failed", 8), (1, None, "failed")), KEY)
        errors = {row["type"]: row["errors"] for row in found.to_dicts() if row["row"] == "group"}
        assert (errors["User unknown"], errors["Other"]) == (3, 2)
        assert found.filter(pl.col("row").cast(pl.String).is_in(["seven", "total"]))["errors"].to_list() == [3, 5]

    def test_nothing_failed_and_nothing_known(self):
        calm = bounces(sent((5, "a.example", "delivered")), KEY)
        assert calm["errors"].sum() == 0 and calm["contribution"].null_count() == calm.height
        assert calm["breakdown"].to_list() == [0.0] * 8
        unknown = bounces(tables(delivery=[{"delivery_id": KEY}]), KEY)
        assert unknown["errors"].null_count() == unknown.height == 8
        assert bounces(tables(delivery=[{"delivery_id": KEY}]), KEY, by="domain")["row"].to_list() == ["total"]

    def test_what_the_mail_servers_said(self):
        failed = [message(n, at(15), "failed", failure_id=key, failure_reason=reason, failure_type=2)
                  for n, (key, reason) in enumerate([("7", 1), ("7", 1), ("8", 5), (None, 1)])]  # fmt: skip
        texts = [{"failure_id": "7", "first_text": "550 <b>unknown</b>"}, {"failure_id": "8", "first_text": "452 full"}]
        found = failures(tables(message=[*failed, message(9, at(15))], failure=texts), KEY)
        assert found.select("reason", "first_text", "messages", "share").rows() == [
            ("User unknown", "550 <b>unknown</b>", 2, 0.5), ("Inbox full", "452 full", 1, 0.25),
            ("User unknown", None, 1, 0.25),
        ]  # fmt: skip
        assert failures(tables(delivery=[{"delivery_id": KEY}]), KEY).rows() == [(None,) * 6]
        assert failures(sent((1, "a.example", "delivered")), KEY).height == 0


def randomised(seed: int) -> Snapshot:
    """Messages of two deliveries in every status, undated and unknown ones, of domains that share a class."""
    chance = random.Random(seed)
    domains = ("gmail.com", "googlemail.com", "mx.a.example", "a.example", "b.co.uk", "c.b.co.uk", "localhost", None)
    statuses, reasons = (*schema.STATUS_CLASSES, "failed", "failed"), (*schema.FAILURE_REASONS, 1, 1, 5, None)
    rows = [
        message(
            number, chance.choice([at(15) + timedelta(seconds=chance.randint(0, 40_000)), None]), status,
            delivery_id=chance.choice([KEY, KEY, "8"]), domain=chance.choice(domains),
            failure_reason=chance.choice(reasons) if status == "failed" else None,
        )
        for number, status in enumerate(chance.choice(statuses) for _ in range(400))
    ]  # fmt: skip
    rules = [{"delivery_id": chance.choice([KEY, "8"]), "recipient_id": str(n), "rule": chance.choice("ABC")}
             for n in range(60)]  # fmt: skip
    facts = {"delivery_id": KEY, "message_size": 1000, "targeted": 500, "started_at": at(15), "state": 55}
    return tables(message=rows, exclusion=rules, delivery=[facts, {"delivery_id": "8"}])


CLASSES = """CASE domain WHEN 'gmail.com' THEN 'Gmail' WHEN 'googlemail.com' THEN 'Gmail'
    WHEN 'mx.a.example' THEN 'a.example' WHEN 'c.b.co.uk' THEN 'b.co.uk' ELSE coalesce(domain, '(unknown)') END"""
TYPES = """CASE failure_reason WHEN 1 THEN 'User unknown' WHEN 2 THEN 'Invalid domain' WHEN 3 THEN 'Unreachable'
    WHEN 4 THEN 'Account disabled' WHEN 5 THEN 'Inbox full' WHEN 6 THEN 'Not connected' WHEN 20 THEN 'Rejected'
    ELSE 'Other' END"""


@pytest.mark.parametrize("seed", range(6))
class TestTheSecondImplementation:
    """The same figures in SQL, written apart from ours."""

    def sql(self, seed: int, query: str) -> list[tuple]:
        given = randomised(seed)
        message = given.scan("message").with_columns(pl.col("status").cast(pl.String)).collect()
        exclusion = given.scan("exclusion").collect()
        with duckdb.connect() as database:
            database.register("message", message.to_arrow())
            database.register("exclusion", exclusion.to_arrow())
            done = "status IN ('prepared', 'failed', 'delivered') AND delivery_id = '230'"
            database.execute(
                f"CREATE VIEW done AS SELECT *, {CLASSES} AS class, {TYPES} AS kind FROM message WHERE {done}"
            )
            return database.execute(query).fetchall()

    def test_bounces_by_type(self, seed):
        expected = self.sql(seed, """
            WITH errors AS (SELECT * FROM done WHERE status = 'failed')
            SELECT kind, count(*), count(*) / (SELECT count(*) FROM errors), count(*) / (SELECT count(*) FROM done)
            FROM errors GROUP BY kind""")  # fmt: skip
        found = bounces(randomised(seed), KEY).filter(pl.col("row") == "group", pl.col("errors") > 0)
        assert set(found.select("type", "errors", "contribution", "breakdown").rows()) == set(expected)

    def test_bounces_by_domain(self, seed):
        expected = self.sql(seed, """
            SELECT class, count(*) FILTER (status = 'failed'),
                count(*) FILTER (status = 'failed') / (SELECT count(*) FROM done WHERE status = 'failed'),
                count(*) FILTER (status = 'failed') / count(*)
            FROM done GROUP BY class""")  # fmt: skip
        found = bounces(randomised(seed), KEY, by="domain").filter(pl.col("row") == "group")
        assert set(found.select("domain", "errors", "contribution", "breakdown").rows()) == set(expected)

    @pytest.mark.parametrize("by", ["type", "domain"])
    def test_details(self, seed, by):
        column = "kind" if by == "type" else "class"
        expected = self.sql(seed, f"""
            WITH errors AS (SELECT *, count(*) OVER (PARTITION BY {column}) AS of_group FROM done
                WHERE status = 'failed'),
            sizes AS (SELECT class, count(*) AS own FROM done GROUP BY class)
            SELECT kind, class, count(*), count(*) / any_value(of_group), count(*) / {
                "any_value(own)" if by == "domain" else "(SELECT count(*) FROM done)"}
            FROM errors JOIN sizes USING (class) GROUP BY kind, class""")  # fmt: skip
        found = bounces(randomised(seed), KEY, by=by).filter(pl.col("row") == "detail")
        assert set(found.select("type", "domain", "errors", "contribution", "breakdown").rows()) == set(expected)

    def test_throughput(self, seed):
        expected = self.sql(seed, """
            SELECT date_trunc('hour', status_at AT TIME ZONE 'UTC'),
                CASE status WHEN 'failed' THEN 'errors' ELSE 'success' END, count(*), count(*) * 8000 / 3600
            FROM done WHERE status <> 'prepared'
                AND status_at <= (SELECT max(status_at) FROM done WHERE status = 'delivered')
            GROUP BY 1, 2""")  # fmt: skip
        found = throughput(randomised(seed), KEY, "1h").with_columns(pl.col("starts_at").dt.replace_time_zone(None))
        ours = found.select("starts_at", pl.col("series").cast(pl.String), "messages", "bits_per_second").rows()
        assert sorted(row[:3] for row in ours) == sorted(row[:3] for row in expected)
        assert sorted(row[3] for row in ours) == pytest.approx(sorted(row[3] for row in expected))

    def test_pace(self, seed):
        (pending, sent_, span), = self.sql(seed, """
            SELECT (SELECT count(*) FROM message WHERE delivery_id = '230' AND status IN ('pending', 'in_progress')),
                count(*), date_diff('second', TIMESTAMPTZ '2012-02-20 15:00:00+00',
                    (SELECT max(status_at) FROM done WHERE status = 'delivered'))
            FROM done WHERE status <> 'prepared'
                AND status_at <= (SELECT max(status_at) FROM done WHERE status = 'delivered')
            """)  # fmt: skip
        row = pace(randomised(seed), KEY).to_dicts()[0]
        assert (row["pending"], row["sent"]) == (pending, sent_)
        assert row["messages_per_hour"] == pytest.approx(sent_ * 3600 / span)

    def test_exclusions(self, seed):
        expected = self.sql(seed, """
            SELECT rule, count(*), count(*) / sum(count(*)) OVER (), count(*) / 500
            FROM exclusion WHERE delivery_id = '230' GROUP BY rule""")  # fmt: skip
        found = exclusions(randomised(seed), KEY).filter(pl.col("row") == "rule")
        assert set(found.select("rule", "recipients", "contribution", "share").rows()) == set(expected)
