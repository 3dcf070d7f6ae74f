"""The messages of one delivery: exclusions at analysis, sending, failures, complaints."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from trackkit.demo.people import FIRST_RECIPIENT, SEEDS, People, Standing
from trackkit.demo.plan import DAY, HOUR, NOW, Plan
from trackkit.demo.words import COMPLAINT, EXCLUSION_RULES, FAILURES

SENT, FAILED, ACCEPTED, PENDING, CANCELLED = 1, 2, 3, 6, 7
FIRST_FAILURE = 501
_HARD = np.array([kind == 2 for _, kind, _, _ in FAILURES])
_WEIGHTS = np.array([weight for *_, weight in FAILURES])


@dataclass(frozen=True)
class Mailing:
    """Arrays with one entry per message: `recipient` -1 is a control address, `sent_at` 0 unsent, `failure` -1 none."""

    plan: Plan
    first_message: int
    recipient: np.ndarray
    status: np.ndarray
    failure: np.ndarray
    sent_at: np.ndarray
    status_at: np.ndarray
    is_text: np.ndarray
    excluded: np.ndarray
    rule: np.ndarray
    new_quarantines: int

    @property
    def message_id(self) -> np.ndarray:
        """The keys of the messages."""
        return np.arange(self.first_message, self.first_message + self.recipient.size)

    @property
    def is_read(self) -> np.ndarray:
        """Whether each message reached a mailbox and can be read: sent, or complained about later."""
        return np.isin(self.status, (SENT, ACCEPTED)) | np.isin(self.failure, COMPLAINT)

    def frame(self, people: People) -> pl.DataFrame:
        """Return the rows of `broadlog`."""
        email = pl.concat([people.email, pl.Series(SEEDS)])
        seed = self.recipient < 0
        place = np.where(seed, people.count + np.cumsum(seed) % len(SEEDS), self.recipient)
        columns = {
            "iBroadLogId": self.message_id,
            "iDeliveryId": np.full(self.recipient.size, self.plan.delivery_id),
            "iRecipientId": np.where(seed, 0, self.recipient + FIRST_RECIPIENT),
            "sAddress": email.gather(place),
            "iStatus": self.status.astype(np.int16),
            "iMsgId": np.where(self.failure < 0, 0, self.failure + FIRST_FAILURE),
            "tsEvent": pl.Series(self.status_at).cast(pl.Datetime("ms")),
            "iIsSeed": seed.astype(np.int8),
        }
        return pl.DataFrame(columns)


def make_mailing(plan: Plan, people: People, standing: Standing, first_message: int, seed: int) -> Mailing:
    """Generate one delivery; addresses with hard failures enter quarantine in `standing`."""
    rng = np.random.default_rng([seed, 3, plan.number])
    population = _population(rng, plan, people.count)
    rule = _rules(rng, population, standing)
    seeds = {"model": 0, "proof": 6}.get(plan.role, len(SEEDS))
    recipient = np.concatenate([population[rule == 0], np.full(seeds, -1)])
    sent_at = _sending(rng, plan, recipient.size)
    status, failure = _outcome(rng, plan, sent_at, recipient)
    failed_for_good = recipient[(failure >= 0) & _HARD[failure] & (failure != COMPLAINT)]
    standing.quarantined[failed_for_good] = True
    standing.denylisted[recipient[failure == COMPLAINT]] = True
    is_text = np.where(recipient < 0, False, people.email_format[recipient] == 1) | (plan.role == "text")
    status_at, is_excluded = _status_at(rng, plan, sent_at, status, failure), rule > 0
    outcome = (recipient, status, failure, sent_at, status_at, is_text)
    return Mailing(plan, first_message, *outcome, population[is_excluded], rule[is_excluded], failed_for_good.size)


def _population(rng: np.random.Generator, plan: Plan, count: int) -> np.ndarray:
    if not plan.is_real:
        return np.empty(0, dtype=np.int64)
    size = max(1, round(count * plan.share))
    return np.sort(rng.choice(count, min(size, 60) if plan.role == "silent" else size, replace=False))


def _rules(rng: np.random.Generator, population: np.ndarray, standing: Standing) -> np.ndarray:
    """The rule that excludes each address, 0 for none; a large population has every rule."""
    shares = np.array(list(EXCLUSION_RULES.values()))
    codes = np.array([0, *EXCLUSION_RULES])
    rule = rng.choice(codes, population.size, p=[1 - shares.sum(), *shares])
    if population.size > 400:
        rule[: shares.size - 3] = [code for code in EXCLUSION_RULES if code not in (7, 8, 9)]
    for code, dropped in ((9, standing.quarantined), (8, standing.denylisted), (7, standing.without_address)):
        rule[dropped[population]] = code
    return rule


def _sending(rng: np.random.Generator, plan: Plan, count: int) -> np.ndarray:
    """Sending instants at a steady rate with some noise; 0 for those not sent yet."""
    pace = min(HOUR / 6000, 1.5 * HOUR / max(count, 1))
    sent_at = plan.start + (np.arange(count) * pace + rng.exponential(4000, count)).astype(np.int64)
    waiting = {"running": 0.45, "paused": 0.6, "hostile": 0.004}.get(plan.role, 0)
    sent_at[rng.random(count) < waiting] = 0
    return np.where(sent_at > NOW, 0, sent_at)


def _outcome(
    rng: np.random.Generator, plan: Plan, sent_at: np.ndarray, recipient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Status and failure of each message; a large delivery has every failure, and at least one complaint."""
    status = np.where(sent_at > 0, SENT, CANCELLED if plan.role == "hostile" else PENDING)
    failure = np.full(status.size, -1)
    public = recipient >= 0
    failed = np.flatnonzero((sent_at > 0) & public & (rng.random(status.size) < 0.028))
    failure[failed] = rng.choice(_WEIGHTS.size, failed.size, p=_WEIGHTS / _WEIGHTS.sum())
    if failed.size > 2 * COMPLAINT:
        failure[failed[:COMPLAINT]] = np.arange(COMPLAINT)
    is_sound = (failure < 0) & (sent_at > 0) & public & (sent_at < NOW - DAY)
    complaints = np.flatnonzero(is_sound & (rng.random(status.size) < 0.0006))
    if not complaints.size and is_sound.sum() > 500:
        complaints = np.flatnonzero(is_sound)[-1:]
    failure[complaints] = COMPLAINT
    status[failure >= 0] = FAILED
    if plan.role == "running":
        status[(status == SENT) & (rng.random(status.size) < 0.15)] = ACCEPTED
    return status, failure


def _status_at(
    rng: np.random.Generator, plan: Plan, sent_at: np.ndarray, status: np.ndarray, failure: np.ndarray
) -> np.ndarray:
    """When the status last changed: at sending, or later for bounce mails and complaints."""
    is_delayed = (failure == COMPLAINT) | ((failure >= 0) & (rng.random(failure.size) < 0.2))
    delay = np.where(is_delayed, rng.lognormal(np.log(5 * HOUR), 1.0, failure.size), 0).astype(np.int64)
    status_at = np.where(sent_at > 0, sent_at + delay, plan.start)
    status_at[status == CANCELLED] = plan.start + 5 * DAY
    return np.minimum(status_at, NOW)
