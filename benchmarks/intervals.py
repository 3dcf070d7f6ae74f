"""How often intervals hold the truth, by simulation: those of `measure(..., interval=0.95)`, and the textbook's.

    python benchmarks/intervals.py            # a minute; the same figures each time; then who stops at a difference

Shares are drawn from a binomial distribution. Clicks are over-dispersed: a message is clicked with some probability,
and then several times, by a geometric distribution; the textbook's interval takes each click for a message.
"""

import argparse

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from trackkit.analysis.compare import sequence
from trackkit.engine.intervals import bootstrap, wilson

LEVEL = 0.95
SHARES = ((0.005, 400), (0.02, 400), (0.002, 5_000), (0.20, 5_000))
CLICKS = ((0.005, 400, 2.0), (0.02, 400, 2.0), (0.05, 400, 3.0), (0.02, 5_000, 1.8), (0.1, 1_000, 1.5))


def held(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    """The share of intervals that hold the truth."""
    return float(np.mean((low <= truth) & (truth <= high)))


def textbook(part: np.ndarray, whole: int) -> tuple[np.ndarray, np.ndarray]:
    """Wald's interval, of what is taken for a share."""
    low, high = proportion_confint(np.minimum(part, whole), whole, alpha=1 - LEVEL, method="normal")
    return low, high


def of_shares(share: float, whole: int, rounds: int) -> dict[str, float]:
    """How often the intervals of a share hold it."""
    part = np.random.default_rng(1).binomial(whole, share, rounds)
    low, high = wilson(part, np.full(rounds, whole), LEVEL)
    return {"textbook": held(*textbook(part, whole), share), "trackkit": held(low, high, share)}


def of_clicks(share: float, whole: int, each: float, rounds: int) -> dict[str, float]:
    """How often the intervals of clicks per message hold it, where a clicked message has `each` on average."""
    random = np.random.default_rng(1)
    clicks = [random.geometric(1 / each, count) for count in random.binomial(whole, share, rounds)]
    drawn = np.array([bootstrap(*np.unique(counts, return_counts=True), whole, LEVEL) for counts in clicks])
    totals = np.array([counts.sum() for counts in clicks])
    return {
        "textbook": held(*textbook(totals, whole), share * each),
        "trackkit": held(drawn[:, 0], drawn[:, 1], share * each),
    }


def stopped(share: float, each: int, most: int, rounds: int) -> dict[str, float]:
    """How often who looks after each few messages calls two equal shares different, at the last look or at any."""
    looks, random = np.arange(each, most + 1, each), np.random.default_rng(1)
    counts = random.binomial(each, share, (2, rounds, looks.size)).cumsum(axis=2)
    rates, smoothed, pooled = counts / looks, (counts + 1) / (looks + 2), counts.mean(axis=0) / looks
    difference = rates[1] - rates[0]
    fixed = np.abs(difference) > 1.96 * np.sqrt(2 * pooled * (1 - pooled) / looks)
    low, high, _ = sequence(difference, (smoothed * (1 - smoothed)).sum(axis=0) / looks, looks, looks, LEVEL)
    always = (low > 0) | (high < 0)
    return {"last": fixed[:, -1].mean(), "ever": fixed.any(axis=1).mean(), "always": always.any(axis=1).mean()}


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20_000, help="simulated shares each [20000]")
    parser.add_argument("--drawn", type=int, default=2_000, help="simulated deliveries of clicks each [2000]")
    asked = parser.parse_args()
    print(f"{'share':>8} {'messages':>9} {'textbook':>9} {'Wilson':>9}")
    for share, whole in SHARES:
        found = of_shares(share, whole, asked.rounds)
        print(f"{share:8.3%} {whole:9,} {found['textbook']:9.3f} {found['trackkit']:9.3f}")
    print(f"\n{'clicked':>8} {'messages':>9} {'textbook':>9} {'bootstrap':>9}   clicks of a clicked message")
    for share, whole, each in CLICKS:
        found = of_clicks(share, whole, each, asked.drawn)
        print(f"{share:8.3%} {whole:9,} {found['textbook']:9.3f} {found['trackkit']:9.3f}   {each}")
    print("\nTwo equal shares, looked at after every 10 messages of each up to 5,000: called different")
    print(f"{'share':>8} {'at the end':>11} {'ever':>9} {'ever, with peeking=True':>24}")
    for share, _ in SHARES:
        found = stopped(share, 10, 5_000, asked.drawn)
        print(f"{share:8.3%} {found['last']:11.3f} {found['ever']:9.3f} {found['always']:24.3f}")


if __name__ == "__main__":
    main()
