"""What each metric means, as small tables with figures worked out by hand."""

from datetime import date

import polars as pl
import pytest

from tests.spec.golden import DELIVERY_ID, at, golden, tables
from trackkit import schema
from trackkit.engine.backends import CLOCK
from trackkit.engine.measure import measure
from trackkit.metrics import (
    BREAKDOWNS,
    METRICS,
    OF_DELIVERIES,
    Estimate,
    Ratio,
    breakdowns_of,
    lineage,
    made_of,
    sources_of,
)

# Delivery A, an ordinary one. Ten messages: six delivered (one of them a seed), three failed, one pending.
STATUSES = [
    ("delivered", None, "post.example", "FR"), ("delivered", None, "post.example", "FR"),
    ("delivered", None, "mail.example", "BR"), ("delivered", None, "mail.example", None),
    ("delivered", None, "mail.example", "BR"), ("delivered", None, "seed.example", None),
    ("failed", 1, "post.example", "FR"), ("failed", 5, "mail.example", "BR"), ("failed", 8, "mail.example", "BR"),
    ("pending", None, "post.example", None),
]  # fmt: skip
SEED = "A6"
# message, type, link, person, minute, device, amount, articles
HITS = [
    ("A1", "opened", "1", None, 0, "iPhone", None, None),
    ("A1", "opened", "1", None, 90, "iPhone", None, None),
    ("A1", "clicked", "10", "p1", 91, "iPhone", None, None),
    ("A1", "clicked", "11", "p1", 92, "iPhone", None, None),
    ("A2", "clicked", "10", "p2", 5, "PC", None, None),
    ("A2", "clicked", "10", "p3", 6, "PC", None, None),
    ("A2", "unsubscribed", "20", "p2", 7, "PC", None, None),
    ("A3", "mirror_page", "21", "p4", 8, "PC", None, None),
    ("A4", "opened", "1", None, 9, "PC", None, None),
    ("A4", "web_visited", "30", "p5", 10, "PC", None, None),
    ("A4", "transaction", "31", "p5", 11, "PC", 20.5, 2),
    ("A4", "transaction", "31", "p5", 12, "PC", 9.5, 1),
    ("A1", "web_visited", "30", "p6", 93, "iPhone", None, None),  # p6 refused web tracking
    ("A1", "transaction", "31", "p6", 94, "iPhone", 100.0, 9),
    (None, "opened", "1", None, 13, "PC", None, None),
    (SEED, "clicked", "10", "s1", 14, "PC", None, None),
]

# Columns of `event` that are not stored: cut from its instant in the time zone asked for, and told by `refusals`.
MADE = (*CLOCK, "is_refused")


def _ordinary():
    deliveries = [
        {"delivery_id": "A", "targeted": 12, "rejected": 2, "to_deliver": 10, "text_messages": 2, "new_quarantines": 1},
        {"delivery_id": "B", "to_deliver": 50, "text_messages": 50},
        {"delivery_id": "P", "to_deliver": 3, "is_proof": True},
    ]
    messages = [
        {"delivery_id": "A", "message_id": f"A{number}", "status": status, "failure_reason": reason, "domain": domain,
         "country": country, "is_seed": f"A{number}" == SEED, "is_complaint": reason == 8}
        for number, (status, reason, domain, country) in enumerate(STATUSES, start=1)
    ]  # fmt: skip
    domains = {message["message_id"]: message["domain"] for message in messages}
    events = [
        {"delivery_id": "A", "event_id": str(number), "message_id": message, "event_type": kind, "link_id": link,
         "person_id": person, "occurred_at": at(22 + minute // 60, minute % 60), "device": device, "amount": amount,
         "articles": articles, "is_seed": message == SEED, "domain": domains.get(message)}
        for number, (message, kind, link, person, minute, device, amount, articles) in enumerate(HITS)
    ]  # fmt: skip
    proof = {"delivery_id": "P", "event_id": "99", "message_id": "P1", "event_type": "clicked", "person_id": "p1"}
    refusal = {"person_id": "p6", "web_optout": 1, "occurred_at": at(23, 50), "web_application": "A", "page": "P"}
    return tables(delivery=deliveries, message=messages, event=[*events, proof], page_hit=[refusal])


# Worked out by hand from the rows above, metric by metric.
EXPECTED = {
    "targeted": 12, "rejected": 2, "to_deliver": 10, "text_messages": 2, "new_quarantines": 1,
    "processed": 9,            # six delivered, three failed; the pending one is not processed
    "delivered": 5,            # six less the seed
    "delivered_with_seeds": 6, "pending": 1, "cancelled": 0,
    "rejection_rate": 2 / 12, "progress_rate": 0.9, "acceptance_rate": 6 / 9, "failure_rate": 0.3,
    "processed_failure_rate": 3 / 9,
    "new_quarantine_rate": 0.1,
    "failed": 3, "hard_bounces": 1, "soft_bounces": 1, "complaints": 1,
    "unique_opens": 4,         # A1 A2 A3 A4: any hit implies an open; the seed and the unlinked hit do not count
    "total_opens": 4,          # two of A1, one of A4, one of nobody known
    "estimated_unique_opens": 5,   # 4 × 10 / 8
    "estimated_total_opens": 5,
    "unique_clicks": 2,        # A1 A2
    "unique_people_clicks": 3, # p1 p2 p3
    "total_clicks": 4, "unsubscribe_clicks": 1, "mirror_page_clicks": 1, "estimated_forwards": 1,
    "unsubscribed_recipients": 1, "recipient_unsubscribe_rate": 0.2,
    "sales": 2, "sales_amount": 30.0, "refunds": 0, "refunded_amount": 0.0, "articles_sold": 3, "sales_of_articles": 2,
    "refused_visits": 2,       # both of p6, though the refusal came later
    "web_visits": 3, "transactions": 2, "transaction_amount": 30.0, "transaction_articles": 3,
    "delivery_rate": 0.5, "open_rate": 0.8, "click_rate": 0.6, "recipient_click_rate": 0.4, "total_click_rate": 0.8,
    "click_to_open_rate": 0.5, "estimated_click_to_open_rate": 0.4, "unsubscribe_rate": 0.2, "complaint_rate": 0.2,
    "hard_bounce_rate": 1 / 9, "soft_bounce_rate": 1 / 9, "average_transaction_amount": 15.0,
    "average_articles_per_transaction": 1.5, "amount_per_message": 3.0,
    # ---- other senders' ----
    "sent_messages": 8,        # five delivered but the seed, three failed; the pending one was not tried
    "bounces": 2,              # reasons 1 and 5; the complaint (8) did not come back
    "displayed_unique_opens": 2,     # A1 A4: their images were loaded; A2 and A3 only clicked
    "confirmed_unique_opens": 3,     # A1 A4, and A2 by a click; the mirror page of A3 is none
    "unprefetched_unique_opens": 3,  # nothing is said of machines: all count
    "prefetched_only": 0, "delivered_without_prefetched": 5,
    "displayed_open_rate": 0.4, "total_open_rate": 0.8, "sent_open_rate": 0.25, "unprefetched_open_rate": 0.6,
    "trackable_open_rate": 0.6, "sent_click_rate": 0.25, "displayed_click_to_open_rate": 1.0,
    "sent_delivery_rate": 0.625, "bounce_rate": 0.25, "sent_unsubscribe_rate": 0.125,
}  # fmt: skip


def test_every_metric_has_a_worked_example():
    assert set(EXPECTED) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_ordinary_delivery(name):
    measured = measure(_ordinary(), name, delivery="A")
    assert measured[name].to_list() == [EXPECTED[name]]


def test_the_platforms_own_example():
    # Contract, section 5, and the platform's page on persons, people and recipients.
    row = measure(golden(), delivery=DELIVERY_ID).to_dicts()[0]
    expected = {
        "unique_clicks": 2, "unique_people_clicks": 6, "unique_opens": 3, "total_clicks": 15, "total_opens": 4,
        "estimated_forwards": 4, "click_to_open_rate": 2 / 3, "delivered": 4, "to_deliver": 4, "unsubscribe_clicks": 0,
        "mirror_page_clicks": 0, "open_rate": 0.75, "recipient_click_rate": 0.5, "click_rate": 1.5,
        "total_click_rate": 3.75, "estimated_click_to_open_rate": 2 / 3, "estimated_unique_opens": 3,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_the_platforms_domain_table():
    row = measure(golden(), ["delivered", "complaints", "unique_opens", "unique_clicks"], by="domain").to_dicts()
    assert row == [{"domain": "example.com", "delivered": 4, "complaints": 0, "unique_opens": 3, "unique_clicks": 2}]


@pytest.mark.parametrize(
    ("to_deliver", "text", "opens", "total", "expected"),
    [
        (1000, 200, 240, 333, (300, 416)),  # spec 3.2: 333 × 1.25 = 416.25
        (50, 50, 0, 0, (0, 0)),  # all text: the platform says 0
        (1000, 0, 240, 333, (240, 333)),
        (1000, None, 240, 333, (240, 333)),  # unknown text counts as none
        (None, 200, 240, 333, (None, None)),  # nothing to scale up to
        (100, 120, 1, 1, (None, None)),  # more text than messages: no honest answer
        (10, 6, 1, 1, (3, 3)),  # 2.5 rounds up
    ],
)
def test_estimates_scale_up_for_text_messages(to_deliver, text, opens, total, expected):
    events = [
        {"delivery_id": "D", "event_id": f"{number}", "message_id": str(number % max(opens, 1)), "event_type": "opened"}
        for number in range(total)
    ]
    snapshot = tables(
        delivery=[{"delivery_id": "D", "to_deliver": to_deliver, "text_messages": text}], event=events, message=[]
    )
    measured = measure(snapshot, ["estimated_unique_opens", "estimated_total_opens"])
    assert measured.row(0)[1:3] == expected


def test_forwards_are_worked_out_per_delivery_then_added():
    # A: one browser for two recipients (-1, so 0); B: two browsers for one recipient (1). Together 1, not 0.
    clicks = [("A", "a1", "p"), ("A", "a2", "p"), ("B", "b1", "q"), ("B", "b1", "r")]
    events = [
        {"delivery_id": delivery, "message_id": message, "person_id": person, "event_type": "clicked"}
        for delivery, message, person in clicks
    ]
    measured = measure(tables(event=events), ["estimated_forwards", "unique_people_clicks"], by=[])
    assert measured.to_dicts() == [{"estimated_forwards": 1, "unique_people_clicks": 3, "unique_clicks": 3}]


def test_distinct_counts_are_measured_again_not_added():
    # Spec 3.13: P1 opens twice on one day and three times the next, P2 once on the first day.
    days = [(1, "P1"), (1, "P1"), (2, "P1"), (2, "P1"), (2, "P1"), (1, "P2")]
    events = [
        {"delivery_id": "D", "message_id": message, "event_type": "opened", "occurred_at": at(9, day=day)}
        for day, message in days
    ]
    by_day = measure(tables(event=events), ["total_opens", "unique_opens"], by="day")
    assert by_day.rows() == [(date(2012, 2, 1), 3, 2), (date(2012, 2, 2), 3, 1)]
    assert measure(tables(event=events), ["total_opens", "unique_opens"], by=[]).rows() == [(6, 2)]


def test_by_domain_counts_each_sides_own_rows():
    measured = measure(_ordinary(), ["open_rate", "complaints"], by="domain", delivery="A")
    assert measured.to_dicts() == [
        {"domain": "mail.example", "open_rate": 2 / 3, "complaints": 1, "unique_opens": 2, "delivered": 3},
        {"domain": "post.example", "open_rate": 1.0, "complaints": 0, "unique_opens": 2, "delivered": 2},
        {"domain": "seed.example", "open_rate": None, "complaints": 0, "unique_opens": 0, "delivered": 0},
        {"domain": None, "open_rate": None, "complaints": 0, "unique_opens": None, "delivered": 0},
    ]


def test_hours_and_days_are_cut_in_the_reports_time_zone():
    measured = measure(_ordinary(), "total_opens", by="day", delivery="A", timezone="America/Sao_Paulo")
    assert measured.rows() == [(date(2012, 2, 20), 4)]  # 22:00 UTC on the 20th is 20:00 in summer time there
    tokyo = measure(_ordinary(), "total_opens", by="day", delivery="A", timezone="Asia/Tokyo")
    assert tokyo.rows() == [(date(2012, 2, 21), 4)]
    by_hour = measure(_ordinary(), "total_opens", by="hour", delivery="A")
    assert by_hour.rows() == [(at(22), 3), (at(23), 1)]


def test_proofs_are_left_out_unless_named():
    assert measure(_ordinary(), "total_clicks")["delivery_id"].to_list() == ["A", "B"]
    assert measure(_ordinary(), "total_clicks", delivery="P").rows() == [("P", 1)]
    assert measure(_ordinary(), "unique_people_clicks", by=[]).rows() == [(3,)]


def test_nothing_happened_is_zero_and_its_rates_null():
    row = measure(_ordinary(), ["unique_opens", "open_rate", "transaction_amount", "targeted"], delivery="B").row(0)
    assert row == ("B", 0, None, 0.0, None, 0)


def test_a_missing_table_is_null_never_zero():
    only_events = tables(event=[{"delivery_id": "D", "message_id": "m", "event_type": "opened"}])
    row = measure(only_events, ["unique_opens", "delivered", "open_rate", "to_deliver"]).to_dicts()
    assert row == [{"delivery_id": "D", "unique_opens": 1, "delivered": None, "open_rate": None, "to_deliver": None}]


def test_transactions_of_unknown_amount_are_not_worth_nothing():
    events = [{"delivery_id": "D", "event_type": "transaction"}]
    measured = measure(tables(event=events), ["transaction_amount", "average_transaction_amount"])
    assert measured.to_dicts()[0]["transaction_amount"] is None


def test_amounts_add_up_to_the_cent_in_any_order():
    # In floating point 0.1 + 0.2 + 0.3 is 0.6000000000000001 or 0.6, by the order.
    events = [{"delivery_id": "D", "event_type": "transaction", "amount": amount} for amount in (0.1, 0.2, 0.3)]
    for rows in (events, events[::-1]):
        assert measure(tables(event=rows), "transaction_amount").rows() == [("D", 0.6)]


def test_pandas_is_one_step_away():
    handed_over = measure(_ordinary(), "open_rate", delivery="A").to_pandas()
    assert handed_over.loc[0, "open_rate"] == 0.8


class TestRegistry:
    """The house's invariants over the declarations themselves."""

    def test_labels_are_unique(self):
        labels = [metric.label for metric in METRICS.values()]
        assert len(labels) == len(set(labels))

    @pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
    def test_is_well_declared(self, metric):
        assert metric.definition[0].isupper() and metric.definition.endswith(".")
        assert metric.reference and metric.label and metric.unit
        assert all(parent in METRICS for parent in metric.parents)
        assert bool(metric.source) is not bool(metric.parents)
        assert metric.name.endswith("_rate") <= isinstance(metric.formula, Ratio)
        assert lineage(metric.name)[-1] == metric.name  # would not end if there were a cycle

    @pytest.mark.parametrize("metric", [m for m in METRICS.values() if m.source], ids=lambda metric: metric.name)
    def test_reads_only_declared_columns(self, metric):
        columns = {*schema.TABLES[metric.source].schema, *MADE}
        added = getattr(metric.formula, "column", None)
        used = {*(made_of(added) if added else ()), *getattr(metric.formula, "where", {})}
        assert used <= columns

    def test_breakdowns_are_columns_of_their_sources(self):
        for column, carriers in BREAKDOWNS.items():
            made = (*MADE, *OF_DELIVERIES)
            assert all(column in made or column in schema.TABLES[table].schema for table in carriers)

    def test_every_metric_can_be_broken_down_by_delivery(self):
        assert all("delivery_id" in breakdowns_of(name) and sources_of(name) for name in METRICS)

    def test_estimates_need_the_delivery(self):
        estimates = [metric.name for metric in METRICS.values() if isinstance(metric.formula, Estimate)]
        assert all(breakdowns_of(name) == ("delivery_id", *OF_DELIVERIES) for name in estimates)


def test_frames_have_documented_types():
    measured = measure(_ordinary(), [*METRICS], delivery="A")
    for name, metric in METRICS.items():
        expected = pl.Float64 if isinstance(metric.formula, Ratio) or metric.unit == "currency" else pl.Int64
        assert measured.schema[name] == expected, name
