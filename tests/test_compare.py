"""Variants compared: differences and their bounds, several at once, the split, peeking; and cells unlike the others."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.test_intervals import campaign
from trackkit.analysis.compare import MACHINES, compare, sequence
from trackkit.analysis.intervals import unusual
from trackkit.engine.intervals import wilson
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

CLICKED = "recipient_click_rate"


def row(frame: pl.DataFrame, metric: str = CLICKED) -> dict[str, Any]:
    return frame.filter(pl.col("metric") == metric).row(0, named=True)


def test_shares_with_newcombes_interval_by_hand() -> None:
    """His hybrid score: the distances from each rate to its Wilson bounds, squared and added."""
    found = row(compare(campaign({"7": [1] * 20, "8": [1] * 48}), "7", "8"))
    assert [found[name] for name in ("part_a", "whole_a", "part_b", "whole_b")] == [20, 400, 48, 400]
    assert (found["rate_a"], found["rate_b"], found["difference"]) == (0.05, 0.12, pytest.approx(0.07))
    (low_a, high_a), (low_b, high_b) = (map(float, wilson(part, 400, 0.95)) for part in (20, 48))
    low, high = 0.07 - math.hypot(0.12 - low_b, high_a - 0.05), 0.07 + math.hypot(high_b - 0.12, 0.05 - low_a)
    assert [found["low"], found["high"]] == pytest.approx([low, high], abs=1e-9)
    # The score test: z² = d² / (pooled variance · n / (n - 1)), pooled 68 of 800.
    z = 0.07 / math.sqrt(0.085 * 0.915 * 2 / 400)
    assert found["p"] == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.05) and found["is_different"] is True


def test_clicks_are_compared_by_messages() -> None:
    """Thirty clicks of ten messages against sixty of sixty: ten messages leave much to chance."""
    frame = compare(campaign({"7": [3] * 10, "8": [1] * 60}), "7", "8", metrics=["total_click_rate"])
    found = row(frame, "total_click_rate")
    assert found["difference"] == pytest.approx(0.075) and -0.02 < found["low"] < 0.01 and 0.11 < found["high"] < 0.15
    assert 0.03 < found["p"] < 0.08
    as_shares = math.hypot(*(0.98 * (high - low) for low, high in (map(float, wilson(k, 400, 0.95)) for k in (30, 60))))
    assert found["high"] - found["low"] > as_shares


def test_variants_of_several_deliveries_and_all_that_have_an_interval() -> None:
    store = campaign({"7": [1] * 10, "8": [1] * 10, "9": [1] * 20})
    frame = compare(store, ["7", "8"], "9", metrics=[CLICKED, "delivery_rate"])
    assert frame.select("a", "b", "part_a", "whole_a", "part_b").row(0) == ("7+8", "9", 20, 800, 20)
    planned = row(frame, "delivery_rate")
    assert planned["difference"] == 0 and planned["low"] is None and planned["is_different"] is None
    assert compare(store, "7", "9")["metric"].is_in([CLICKED, "open_rate", "total_click_rate"]).sum() == 3


def test_several_variants_are_adjusted_by_holm() -> None:
    frame = compare(campaign({"7": [1] * 20, "8": [1] * 38, "9": [1] * 40}), "7", "8", "9", metrics=CLICKED)
    assert frame.select("a", "b").rows() == [("7", "8"), ("7", "9"), ("8", "9")]
    eight, nine, both = frame["p"]
    assert nine < eight < both
    adjusted = [max(2 * eight, 3 * nine), 3 * nine, max(both, 2 * eight, 3 * nine)]
    assert frame["p_adjusted"].to_list() == pytest.approx(adjusted)


def test_no_variant_wins_by_opens() -> None:
    frame = compare(campaign({"7": [1] * 20, "8": [1] * 90}), "7", "8")
    verdicts = dict(frame.select("metric", "is_different").iter_rows())
    assert verdicts["open_rate"] is None and verdicts["click_to_open_rate"] is None and verdicts[CLICKED] is True
    assert row(frame, "open_rate")["reason"] == MACHINES and row(frame)["reason"] is None


def test_of_people_opens_may_win() -> None:
    """A scanner clicked 70 of the 90 messages of delivery 8: people 20, as in delivery 7."""
    store = campaign({"7": [1] * 20, "8": [1] * 90})
    is_scanned = (pl.col("delivery_id") == "8") & (pl.col("message_id").cast(pl.Int64) >= 20)
    marked = pl.when(is_scanned).then(pl.lit("scanner")).otherwise(pl.lit("human"))
    events = store.scan("event").with_columns(activity=marked, activity_rule=pl.lit(None, pl.String))
    marked_store = Snapshot({"event": events} | {name: store.scan(name) for name in ("delivery", "message")})
    frame = compare(marked_store, "7", "8", metrics=["open_rate", CLICKED], activity="human")
    assert frame.select("part_a", "part_b", "is_different", "reason").rows() == [(20, 20, False, None)] * 2


def test_the_split_is_checked_against_what_was_planned() -> None:
    """4,000 of 4,200 and 4,400 planned in halves: χ² = 2 · 100² / 4200."""
    store = campaign({"7": [1], "8": [1]})
    unequal = campaign({"7": [1]}, delivered=500)
    sizes = {name: pl.concat([store.scan(name).filter(pl.col("delivery_id") == "8"), unequal.scan(name)])
             for name in ("delivery", "message", "event")}  # fmt: skip
    mixed = type(store)(sizes)
    assert row(compare(mixed, "7", "8"))["split_p"] is None
    chi = 2 * 50**2 / 450
    halves = row(compare(mixed, "7", "8", split=(0.5, 0.5)))["split_p"]
    assert halves == pytest.approx(math.erfc(math.sqrt(chi / 2)))
    assert row(compare(mixed, "7", "8", split=(5, 4)))["split_p"] == 1
    with pytest.raises(RequestError, match="each of the 2 variants"):
        compare(mixed, "7", "8", split=(1,))


def test_looking_again_and_again_needs_wider_bounds() -> None:
    """Equal rates of 5 %, looked at after each 50 messages of each, up to 5,000: who stops at a difference?"""
    random, looks = np.random.default_rng(7), np.arange(50, 5_001, 50)
    counts = random.binomial(50, 0.05, (2, 1_000, looks.size)).cumsum(axis=2)
    rates, smoothed = counts / looks, (counts + 1) / (looks + 2)
    difference, variance = rates[1] - rates[0], (smoothed * (1 - smoothed)).sum(axis=0) / looks
    low, high, p = sequence(difference, variance, looks, looks, 0.95)
    stopped = ((low > 0) | (high < 0)).any(axis=1).mean()
    assert stopped == (p < 0.05).any(axis=1).mean() <= 0.05
    pooled = counts.mean(axis=0) / looks
    fixed = np.abs(difference) > 1.96 * np.sqrt(2 * pooled * (1 - pooled) / looks)
    assert fixed[:, -1].mean() < 0.07 and fixed.any(axis=1).mean() > 0.25


def test_peeking_by_name() -> None:
    store = campaign({"7": [2] * 20, "8": [2] * 80})
    for name in (CLICKED, "total_click_rate"):
        plain, wide = (row(compare(store, "7", "8", peeking=peeking), name) for peeking in (False, True))
        assert wide["low"] < plain["low"] < plain["high"] < wide["high"] and max(plain["p"], wide["p"]) < 0.05


def test_what_cannot_be_compared() -> None:
    store = campaign({"7": [1], "8": [1]})
    for arguments, message in (
        ({"a": "7", "b": "7"}, "is in two variants"),
        ({"a": "7", "b": ["7", "8"]}, "is in two variants"),
        ({"a": "7", "b": []}, "No delivery is named"),
        ({"a": "7", "b": "9"}, "There is no delivery '9'"),
        ({"a": "7", "b": "8", "metrics": ["delivered"]}, "Rates are compared, and 'delivered' is none"),
        ({"a": "7", "b": "8", "level": 95}, "Did you mean"),
    ):
        with pytest.raises(RequestError, match=message):
            compare(store, **arguments)


# ---- cells unlike the others ----


def test_a_cell_beyond_how_far_the_others_lie_apart_is_unusual() -> None:
    """Logits by hand: of 30 of 300, ln(30.5 / 270.5); the odd one is 90 of 300."""
    parts = [30, 31, 29, 33, 28, 90]
    rows = unusual(pl.DataFrame({"k": parts}).with_columns(n=300), "rate", ("k", "n"))
    logits = [math.log((k + 0.5) / (300.5 - k)) for k in parts]
    middle = sum(sorted(logits)[2:4]) / 2
    chance = [1 / (k + 0.5) + 1 / (300.5 - k) for k in parts]
    z = [(logit - middle) / math.sqrt(each) for logit, each in zip(logits, chance, strict=True)]
    assert rows["usual"][0] == pytest.approx(1 / (1 + math.exp(-middle)))
    assert rows["z"].to_list() == pytest.approx(z) and rows["is_unusual"].to_list() == [False] * 5 + [True]


def test_cells_that_lie_far_apart_hide_what_few_that_do_not_would_show() -> None:
    apart = unusual(pl.DataFrame({"k": [10, 30, 20, 55, 40, 90]}).with_columns(n=300), "rate", ("k", "n"))
    assert not apart["is_unusual"].any()


def test_small_cells_and_few_cells_are_not_judged() -> None:
    cells = pl.DataFrame({"k": [3, 3, 3, 3, 29, 9], "n": [30, 30, 30, 30, 29, 30]})
    assert unusual(cells, "rate", ("k", "n"))["is_unusual"].to_list()[4] is None
    assert unusual(cells.head(4), "rate", ("k", "n"))["p"].null_count() == 4


def test_alike_cells_are_rarely_called_unusual() -> None:
    """Of 300 mailings to twelve like domains, some cell is called unusual in about one of twenty."""
    random, sizes = np.random.default_rng(3), np.array([40, 60, 80, 100, 150, 200, 300, 400, 600, 800, 1_000, 2_000])
    frames = [pl.DataFrame({"k": random.binomial(sizes, 0.1), "n": sizes}) for _ in range(300)]
    called = sum(bool(unusual(frame, "rate", ("k", "n"))["is_unusual"].any()) for frame in frames)
    assert called / 300 < 0.1
