"""Charts and tables of sending: what they say where something is wrong, hostile, missing or empty."""

import polars as pl
import pytest

from tests.spec.golden import at, tables
from trackkit.analysis.bounces import bounces, failures
from trackkit.analysis.sending import exclusions, pace, throughput
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.show import charts
from trackkit.show import tables as shown_tables
from trackkit.show.tables import breakdown_table

KEY = "230"
HOSTILE = "550 <script>alert(1)</script> john.doe@mail.example"


def instance(**delivery) -> Snapshot:
    """Fifty messages of two domains, one of which a hostile server refuses."""
    rows = [{"delivery_id": KEY, "message_id": str(n), "status_at": at(15, n), "status": "delivered",
             "domain": "a.example" if n < 40 else "<i>.example"} for n in range(50)]  # fmt: skip
    rows[-1] |= {"status": "failed", "failure_reason": 1, "failure_type": 2, "failure_id": "7"}
    facts = {"delivery_id": KEY, "to_deliver": 50, "targeted": 60, "rejected": 10, "state": 95} | delivery
    return tables(
        message=rows,
        delivery=[facts],
        failure=[{"failure_id": "7", "first_text": HOSTILE}],
        exclusion=[{"delivery_id": KEY, "recipient_id": str(n), "rule": "<u>rule</u>"} for n in range(10)],
    )


EMPTY = tables(delivery=[{"delivery_id": KEY}], message=[], exclusion=[])
MISSING = tables(delivery=[{"delivery_id": KEY}])


def html(shown) -> str:
    return shown._repr_html_()


def test_a_rate_above_its_ceiling_is_marked_in_words():
    found = measure(instance(), ["processed", "hard_bounce_rate"], by="domain", delivery=KEY)
    shown = html(breakdown_table(found, "domain", ["hard_bounce_rate"], ceilings={"hard_bounce_rate": 0.02}))
    assert "▲" not in shown  # one of ten is above, but fewer than three cases may be chance
    more = found.with_columns(hard_bounces=3 * pl.col("hard_bounces"), hard_bounce_rate=3 * pl.col("hard_bounce_rate"))
    shown = html(breakdown_table(more, "domain", ["hard_bounce_rate"], ceilings={"hard_bounce_rate": 0.02}))
    assert shown.count("▲ above 2%") == 1  # three of ten are above, none of forty is not
    at_it = html(breakdown_table(found, "domain", ["hard_bounce_rate"], ceilings={"hard_bounce_rate": 0.1}))
    assert "▲" not in at_it


def test_ceilings_are_drawn():
    found = measure(instance(), "hard_bounce_rate", by="domain", delivery=KEY)
    drawn = charts.rate_bars(found, "domain", ["hard_bounce_rate"], ceilings={"hard_bounce_rate": 0.02}).to_dict()
    assert [layer["mark"]["type"] for layer in drawn["layer"]] == ["rule", "point", "text", "rule", "text"]


def test_texts_of_logs_cannot_become_tags():
    given = instance()
    by_type, by_domain = bounces(given, KEY), bounces(given, KEY, by="domain")
    shown = [
        html(shown_tables.sending.failure_table(failures(given, KEY))),
        html(shown_tables.sending.bounce_table(by_domain, "domain")),
        html(shown_tables.sending.bounce_details(by_domain, "domain")),
        html(shown_tables.sending.bounce_details(by_type, "type")),
        html(shown_tables.sending.exclusion_table(exclusions(given, KEY))),
    ]
    assert not any(tag in text for text in shown for tag in ("<script", "<i>", "<u>"))
    assert "&lt;script" in shown[0] and "john.doe" not in shown[0]


def test_a_group_that_opens_holds_its_details():
    shown = html(shown_tables.sending.bounce_details(bounces(instance(), KEY), "type"))
    assert shown.count("<details>") == 1 and "1 error<" in shown and "1 of 50" in shown


@pytest.mark.parametrize(("given", "words"), [(EMPTY, "Nothing failed."), (MISSING, "not in the data loaded")])
def test_nothing_failed_is_not_nothing_known(given, words):
    assert words in html(shown_tables.sending.failure_table(failures(given, KEY)))
    assert words in html(shown_tables.sending.bounce_details(bounces(given, KEY)))


def test_bits_need_the_size_of_a_message():
    known, unknown = (throughput(given, KEY) for given in (instance(message_size=1000), instance()))
    assert charts.sending.throughput_columns(known, "bits_per_second").to_dict()["mark"]["type"] == "bar"
    assert "size of a message is not in the data" in html(charts.sending.throughput_columns(unknown, "bits_per_second"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"phase": "running", "outlook": "in time", "ends_at": at(17), "validity_at": at(18, 30)}, "1 h 30 min before"),
        (
            {"phase": "running", "outlook": "late", "ends_at": at(19), "validity_at": at(18, 30)},
            "30 min after the dead",
        ),
        ({"phase": "running", "outlook": "overdue", "validity_at": at(18)}, "had passed when the data was loaded"),
        ({"phase": "running", "outlook": "behind"}, "slowed down"),
        ({"phase": None, "ends_at": at(17)}, "the deadline is not in the data loaded"),
        ({"phase": "paused"}, "nothing is projected"),
        ({"phase": "running", "hours_needed": None, "messages_per_hour": None}, "no pace to project"),
        ({"phase": "over"}, "5 messages are still pending"),
        ({"phase": "over", "pending": 0}, "The sending is over."),
        ({"phase": "running", "pending": 0}, "No message is pending."),
        ({"phase": "not started", "pending": None}, "has not started"),
        ({"phase": "running", "pending": None}, "not in the data loaded"),
    ],
)
def test_how_a_delivery_stands_is_said_in_a_sentence(row, words):
    usual = pace(instance(), KEY).to_dicts()[0] | {"pending": 5, "hours_needed": 2.0}
    frame = pl.DataFrame([usual | row], schema=pace(EMPTY, KEY).schema)
    assert words in html(shown_tables.sending.pace_figures(frame))


@pytest.mark.parametrize("given", [EMPTY, MISSING])
def test_an_empty_delivery_is_calm(given):
    for chart in (
        charts.sending.share_bars(exclusions(given, KEY), "rule", "recipients", "targeted", "share"),
        charts.sending.share_bars(bounces(given, KEY), "type", "errors", "contribution_of", "contribution"),
        charts.sending.metric_bars(
            measure(given, ["processed", "to_deliver"], delivery=KEY), ["processed"], "to_deliver"
        ),
        charts.sending.throughput_columns(throughput(given, KEY)),
    ):
        assert not any(chart.to_dict()["datasets"].values())
    assert "n/a" in html(shown_tables.sending.exclusion_table(exclusions(given, KEY)))
    assert "n/a" in html(shown_tables.sending.pace_figures(pace(given, KEY)))
