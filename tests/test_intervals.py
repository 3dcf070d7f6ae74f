"""Intervals of rates: bounds worked out by hand or published, what has none, and what small cells are drawn to."""

import math
import subprocess
import sys
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.spec.golden import at, golden, tables
from trackkit.analysis.intervals import shrunk
from trackkit.engine.intervals import bootstrap, wilson
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.metrics import METRICS

Z2 = 3.841459  # the square of 1.959964
EVENT_RATES = ["click_rate", "total_click_rate", "total_open_rate", "unsubscribe_rate"]


def campaign(clicks: dict[str, list[int]], delivered: int = 400, domain: str = "post.example") -> Snapshot:
    """Deliveries of so many messages each, and how often some of their messages were clicked."""
    messages, hits = [], []
    for delivery, counts in clicks.items():
        for place in range(delivered):
            key = {"delivery_id": delivery, "message_id": str(place), "is_seed": False, "domain": domain}
            messages.append(key | {"status": "delivered"})
            for click in range(counts[place] if place < len(counts) else 0):
                person = {"person_id": f"{delivery} {place} {click}", "event_id": f"{delivery} {place} {click}"}
                hits.append(key | person | {"event_type": "clicked", "occurred_at": at(12)})
    deliveries = [{"delivery_id": delivery, "to_deliver": delivered} for delivery in clicks]
    return tables(delivery=deliveries, message=messages, event=hits)


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    # By hand: none of n up to z²/(n + z²), all of n from n/(n + z²). The others are Newcombe's (1998), table I, row 3.
    [(0, 400, 0, Z2 / (400 + Z2)), (3, 3, 3 / (3 + Z2), 1), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
     (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_as_published_and_by_hand(part: int, whole: int, low: float, high: float) -> None:
    assert [float(bound) for bound in wilson(part, whole, 0.95)] == pytest.approx([low, high], abs=5e-5)


def test_no_opens_of_400_are_up_to_one_of_a_hundred() -> None:
    row = measure(campaign({"7": []}), "open_rate", interval=0.95).row(0, named=True)
    assert (row["open_rate"], row["open_rate_low"], round(row["open_rate_high"], 4)) == (0.0, 0.0, 0.0095)


def test_the_example_of_the_platform_with_its_bounds() -> None:
    """Three of four opened; two of them clicked: (2 + z²/2 ± z √(2/3 + z²/4)) / (3 + z²)."""
    plain, row = measure(golden()), measure(golden(), interval=0.95)
    assert row.select(plain.columns).equals(plain)
    values = row.row(0, named=True)
    for rate, part, whole in (("open_rate", 3, 4), ("click_to_open_rate", 2, 3)):
        middle, reach = part + Z2 / 2, math.sqrt(Z2) * math.sqrt(part * (whole - part) / whole + Z2 / 4)
        bounds = [(middle - reach) / (whole + Z2), (middle + reach) / (whole + Z2)]
        assert [values[f"{rate}_low"], values[f"{rate}_high"]] == pytest.approx(bounds, abs=1e-6)


def test_every_rate_says_which_interval_it_has() -> None:
    kinds = {name: metric.interval for name, metric in METRICS.items() if metric.denominator}
    assert {name for name, kind in kinds.items() if kind == "bootstrap"} == set(EVENT_RATES)
    # of planned counts, of an estimate, and of amounts
    assert {name for name, kind in kinds.items() if not kind} == {
        *("delivery_rate", "rejection_rate", "progress_rate", "failure_rate", "new_quarantine_rate"),
        *("estimated_click_to_open_rate", "amount_per_message"),
        *("average_transaction_amount", "average_articles_per_transaction"),
        "displayed_click_to_open_rate",  # who clicks may have seen no image
    }
    assert not any(METRICS[name].interval for name in METRICS if name not in kinds)
    row = measure(campaign({"7": [1, 3]}), list(kinds), interval=0.95).row(0, named=True)
    for name, kind in kinds.items():
        bounds = [row[f"{name}_low"], row[f"{name}_high"]]
        assert bounds == [None, None] if not kind or row[name] is None else bounds[0] <= row[name] <= bounds[1], name


def test_bounds_stand_beside_their_rate_and_are_null_where_it_is() -> None:
    nothing = campaign({"7": []}, delivered=0)
    frame = measure(nothing, ["open_rate", "delivered"], interval=0.9)
    assert frame.columns == ["delivery_id", "open_rate", "open_rate_low", "open_rate_high", "delivered", "unique_opens"]
    assert frame.row(0)[1:4] == (None, None, None)


def test_messages_are_drawn_again_with_all_their_clicks() -> None:
    """Against a draw of each message by itself; Agresti and Coull's z²/2 is added to both kinds of messages."""
    clicks = [1] * 40 + [3] * 20 + [9] * 5
    row = measure(campaign({"7": clicks}), "total_click_rate", interval=0.95).row(0, named=True)
    random = np.random.default_rng(0)
    added = [float(np.mean(clicks))] * 2  # about z²/2 messages of each kind
    pool = np.array([*clicks, *added, *[0] * (400 - 65 + 2)], float)
    means = [random.choice(pool, pool.size).mean() for _ in range(4_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert row["total_click_rate"] == 145 / 400
    bounds = [row["total_click_rate_low"], row["total_click_rate_high"]]
    assert bounds == pytest.approx([low, high], abs=0.015)
    # A share of as many would be thought far surer than clicks of 65 messages are.
    share = wilson(145, 400, 0.95)
    assert bounds[1] - bounds[0] > 1.4 * (share[1] - share[0])


def test_bounds_are_the_same_bytes_whatever_else_is_asked() -> None:
    store = campaign({"7": [1, 2, 5, 5], "8": [1] * 30})
    both = measure(store, EVENT_RATES, interval=0.95)
    assert measure(store, EVENT_RATES, interval=0.95).equals(both)
    assert measure(store, EVENT_RATES, delivery="7", interval=0.95).equals(both.head(1))
    by_domain = measure(store, EVENT_RATES, ["delivery_id", "domain"], where="domain = 'post.example'", interval=0.95)
    assert by_domain.drop("domain").equals(both)


def test_a_total_has_bounds_of_its_own() -> None:
    store = campaign({"7": [2] * 40, "8": [2] * 40})
    total = measure(store, ["total_click_rate", "open_rate"], by=[], interval=0.95).row(0, named=True)
    assert [total["open_rate_low"], total["open_rate_high"]] == [float(bound) for bound in wilson(80, 800, 0.95)]
    assert (total["total_click_rate_low"], total["total_click_rate_high"]) == bootstrap([2], [80], 800, 0.95)


def test_no_click_at_all_is_up_to_some() -> None:
    row = measure(campaign({"7": []}), EVENT_RATES, interval=0.95).row(0, named=True)
    for name in EVENT_RATES:
        assert row[f"{name}_low"] == 0 and 0.005 < row[f"{name}_high"] < 0.02


def test_a_click_of_no_known_message_is_one_of_its_own() -> None:
    store = campaign({"7": [1, 1, 1]})
    lost = store.scan("event").with_columns(message_id=pl.lit(None, pl.String))
    known = measure(store, "total_click_rate", interval=0.95)
    assert measure(Snapshot({**store.frames, "event": lost}), "total_click_rate", interval=0.95).equals(known)


def test_counts_without_their_rows_have_no_drawn_bounds() -> None:
    """Retention kept the counts of a delivery and removed its hits: its shares still have bounds."""
    store = campaign({"7": [1, 1, 4], "8": [2]})
    purge = [{"delivery_id": "7", "purged_table": "event", "purged_at": at(13)}]
    kept = [{"delivery_id": "7", "metric": name, "value": value} for name, value in
            (("total_clicks", 6.0), ("unique_opens", 3.0))]  # fmt: skip
    rest = {"event": store.scan("event").filter(pl.col("delivery_id") == "8")}
    after = Snapshot({**store.frames, **rest, **tables(purge=purge, kept_count=kept).frames})
    frame = measure(after, ["open_rate", "total_click_rate"], interval=0.95)
    seven, eight = frame.iter_rows(named=True)
    assert seven["total_click_rate"] == 6 / 400 and seven["total_click_rate_low"] is None
    assert seven["open_rate_low"] == float(wilson(3, 400, 0.95)[0]) and eight["total_click_rate_low"] is not None


@pytest.mark.parametrize("level", [0, 1, -0.5, 2.5, True, "0.95", math.nan])
def test_a_confidence_is_between_0_and_1(level: Any) -> None:
    with pytest.raises(RequestError, match=r"between 0 and 1, such as 0\.95, not"):
        measure(golden(), "open_rate", interval=level)


def test_95_is_taken_for_a_percentage() -> None:
    with pytest.raises(RequestError, match=r"not 95\. Did you mean 0\.95\?"):
        measure(golden(), "open_rate", interval=95)


def test_intervals_hold_what_they_promise_of_rare_events() -> None:
    """Two of 400 on average, where the textbook's interval is [0, 0] one time in seven; worked out over all counts."""
    counts = np.arange(40)
    chance = np.array([math.comb(400, k) * 0.005**k * 0.995 ** (400 - k) for k in counts])
    low, high = wilson(counts, np.full(40, 400), 0.95)
    reach = math.sqrt(Z2) * np.sqrt(counts / 400 * (1 - counts / 400) / 400)
    textbook = chance[(counts / 400 - reach <= 0.005) & (counts / 400 + reach >= 0.005)].sum()
    assert chance[(low <= 0.005) & (high >= 0.005)].sum() >= 0.94 and textbook == pytest.approx(0.865, abs=0.002)


def test_a_question_without_intervals_loads_nothing_for_them() -> None:
    code = "import sys; from tests.spec.golden import golden; from trackkit import measure; measure(golden()); "
    code += "print(*sorted({'numpy', 'scipy', 'statsmodels', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_bounds_of_rare_clicks_hold_what_they_promise() -> None:
    """Two of 400 messages are clicked on average, and then twice: one delivery in seven has none."""
    random = np.random.default_rng(1)
    counts = [random.geometric(0.5, clicked) for clicked in random.binomial(400, 0.005, 400)]
    bounds = [bootstrap(*np.unique(each, return_counts=True), 400, 0.95) for each in counts]
    assert np.mean([low <= 0.01 <= high for low, high in bounds]) >= 0.94
    totals = np.array([each.sum() for each in counts]) / 400
    assert np.mean(np.abs(totals - 0.01) <= np.sqrt(Z2 * totals * (1 - totals) / 400)) < 0.75


# ---- small cells ----


def unlikely(cells: list[tuple[int, int]], more: float, less: float) -> float:
    """How unlikely counts are under a beta-binomial distribution, by the gamma function."""
    of = [math.lgamma(k + more) + math.lgamma(n - k + less) - math.lgamma(n + more + less) for k, n in cells]
    return -sum(of) - len(cells) * (math.lgamma(more + less) - math.lgamma(more) - math.lgamma(less))


def test_cells_are_drawn_to_the_distribution_that_makes_them_likeliest() -> None:
    cells = [(2, 100), (8, 100), (15, 100), (5, 100), (9, 100), (2, 4), (0, 6)]
    grid = product(np.linspace(0.5, 12, 116), np.linspace(5, 120, 231))
    more, less = min(grid, key=lambda each: unlikely(cells, *each))
    rows = shrunk(pl.DataFrame(cells, ["k", "n"], orient="row"), "rate", ("k", "n"))
    by_hand = [(k + more) / (n + more + less) for k, n in cells]
    assert rows["rate_shrunk"].to_list() == pytest.approx(by_hand, abs=0.002)
    assert rows["is_small"].to_list() == [False] * 5 + [True] * 2
    assert rows["rank"].to_list()[2] == 1 and rows["rate_shrunk"][5] < 0.2  # not two of four, but the 15 of 100


def test_cells_that_differ_by_chance_alone_are_all_alike() -> None:
    rows = shrunk(pl.DataFrame({"k": [10, 20, 30, 40, 1], "n": [100, 200, 300, 400, 10]}), "rate", ("k", "n"))
    assert rows["rate_shrunk"].to_list() == pytest.approx([0.1] * 5, abs=1e-3)


def test_too_few_cells_and_what_is_no_share_are_null() -> None:
    few = shrunk(pl.DataFrame({"k": [1, 2, 3, 4], "n": [9, 9, 9, 9]}), "rate", ("k", "n"))
    assert few["rate_shrunk"].null_count() == few["rank"].null_count() == 4 and few["is_small"].all()
    odd = pl.DataFrame({"k": [1, 2, 3, 4, 5, 9, None, 1], "n": [90] * 5 + [8, 90, 0]})
    assert shrunk(odd, "rate", ("k", "n"))["rate_shrunk"].is_null().to_list() == [False] * 5 + [True] * 3


def test_cells_of_a_metric_and_what_is_refused() -> None:
    frame = measure(campaign({str(n): [1] * n for n in range(1, 7)}), "recipient_click_rate")
    assert shrunk(frame, "recipient_click_rate")["rank"].to_list() == [6, 5, 4, 3, 2, 1]
    with pytest.raises(RequestError, match="is no share of messages"):
        shrunk(frame, "total_click_rate")
    with pytest.raises(RequestError, match="has no column 'unique_opens'"):
        shrunk(frame, "open_rate")
