"""Money: amounts that are unknown are in no average, currencies are never added, refunds stand apart from sales."""

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from tests.spec.golden import tables
from tests.test_store import START, add, message_of, open_of
from trackkit.analysis.caveats import limits
from trackkit.cli import app
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.report.notes import sentences
from trackkit.runs.retention import forget
from trackkit.store import Store, datafile, open_store

OUTPUT = Path(__file__).parent / "cases" / "output"
MONEY = [
    "transactions", "sales", "sales_amount", "refunds", "refunded_amount", "transaction_amount",
    "average_transaction_amount", "transaction_articles", "articles_sold", "average_articles_per_transaction",
]  # fmt: skip


def of_case(name: str, folder: Path) -> Store:
    store = open_store(folder / "store")
    store.ingest(OUTPUT / name / "input")
    return store


def bought(*rows: dict[str, Any], delivery: str = "D") -> Snapshot:
    return tables(event=[{"delivery_id": delivery, "event_type": "transaction"} | row for row in rows])


def asked(found: Any, *names: str, **how: Any) -> tuple[Any, ...]:
    return measure(found, list(names), **how).select(names).row(0)


def test_refunds_are_no_purchases(tmp_path: Path) -> None:
    # 100 + 50 - 150.50 - 20, with 2, 1, -2 and 0 articles
    store = of_case("11-refunds", tmp_path)
    assert asked(store, *MONEY) == (4, 2, 150.0, 2, 170.5, -20.5, 75.0, 1, 3, 1.5)
    assert asked(store, "amount_per_message", "transaction_amount", "to_deliver") == (-5.125, -20.5, 4)
    assert asked(Snapshot(store.snapshot().frames), *MONEY) == asked(store, *MONEY), "as files tell it and as rows do"


def test_currencies_are_never_added(tmp_path: Path) -> None:
    # 100, -100, 1,234.56 and 99.90 in euros, 15,000 yen, and 99.90 that name none
    store = of_case("12-currencies", tmp_path)
    for found in (store, Snapshot(store.snapshot().frames)):
        assert asked(found, *MONEY[:7]) == (6, 5, None, 1, None, None, None)
        assert asked(found, *MONEY[:7], by=[]) == (6, 5, None, 1, None, None, None)
        assert asked(found, "amount_per_message", "average_articles_per_transaction") == (None, 1.0)
    by_currency = measure(store, MONEY[:6], by="currency")
    assert by_currency.rows() == [
        ("EUR", 4, 3, 1434.46, 1, 100.0, 1334.46), ("JPY", 1, 1, 15000.0, 0, 0.0, 15000.0),
        (None, 1, 1, 99.9, 0, 0.0, 99.9)]  # fmt: skip
    assert asked(store, "transaction_amount", by=[], where="currency = 'EUR'") == (1334.46,)


def test_why_a_sum_of_money_is_unknown_is_said(tmp_path: Path) -> None:
    store = of_case("12-currencies", tmp_path)
    place = ["--store", str(tmp_path / "store")]
    said = CliRunner().invoke(app, ["measure", *place, "--metrics", "average_transaction_amount", "--output", "csv"])
    assert said.exit_code == 0 and "(EUR, JPY) are not added" in said.stderr
    assert said.stdout.splitlines()[1] == "12,,,5"
    plain = CliRunner().invoke(app, ["measure", *place, "--by", "currency", "--metrics", "transaction_amount"])
    assert not plain.stderr
    warnings, notes = sentences(limits(store.snapshot(), "12"))
    assert any("2 currencies (EUR, JPY)" in sentence for sentence in warnings)
    assert not any("unknown amount" in sentence for sentence in notes)


def test_amounts_that_name_no_currency_are_of_the_one_that_others_name() -> None:
    found = bought({"amount": 10.0, "currency": "EUR"}, {"amount": 5.0}, {"currency": "JPY"})
    assert asked(found, "transaction_amount", "average_transaction_amount") == (15.0, 7.5)  # yen of an unknown amount
    _, notes = sentences(limits(found, "D"))
    assert "Amounts that name no currency: 1 of 2. They are taken to be in EUR." in notes
    _, none = sentences(limits(bought({"amount": 5.0}), "D"))
    assert "Amounts that name no currency: 1, all of them. Which one they are in is unknown." in none
    _, alone = sentences(limits(bought({"amount": 10.0, "currency": "EUR"}), "D"))
    assert "Amounts are in EUR." in alone


def test_deliveries_of_other_currencies_are_told_each_and_have_no_total() -> None:
    rows = [*_rows("A", "EUR", 10.0), *_rows("B", "JPY", 900.0), *_rows("C", None, 1.0)]
    found = tables(event=rows)
    assert measure(found, "transaction_amount").rows() == [("A", 10.0), ("B", 900.0), ("C", 1.0)]
    assert asked(found, "transaction_amount", "sales", by=[]) == (None, 3)
    assert asked(found, "transaction_amount", by=[], delivery=["A", "C"]) == (11.0,)


def _rows(delivery: str, currency: str | None, amount: float) -> list[dict[str, Any]]:
    return [{"delivery_id": delivery, "event_type": "transaction", "amount": amount, "currency": currency}]


def test_unknown_amounts_are_in_no_average() -> None:
    found = bought({"amount": 10.0, "articles": 2}, {"amount": 20.0}, {"articles": 4}, {})
    assert asked(found, *MONEY) == (4, 2, 30.0, 0, 0.0, 30.0, 15.0, 6, 6, 3.0)
    with_parameters = Snapshot({**found.frames, "web_event": tables(web_event=[]).scan("web_event")})
    _, notes = sentences(limits(with_parameters, "D"))
    assert "Purchases of unknown amount: 2 of 4. They are in no amount and no average." in notes


@pytest.mark.parametrize("amount", [9e99, 1e308, 1e15, -1e15, math.inf, -math.inf, math.nan])
def test_an_amount_that_is_none_is_unknown(amount: float) -> None:
    found = bought({"amount": 10.0}, {"amount": amount}, {"amount": amount})
    assert asked(found, *MONEY[:7]) == (3, 1, 10.0, 0, 0.0, 10.0, 10.0)
    assert asked(bought({"amount": amount}), "transaction_amount", "sales") == (None, 0)


def test_what_is_no_amount_is_refused_or_left_empty_with_the_reason(tmp_path: Path) -> None:
    texts = ["9e99", "inf", "nan", "1e308", "1e15", "x", "12.5"]
    raw, store = tmp_path / "raw", open_store(tmp_path / "store")
    raw.mkdir()
    table = "iTrackingLogId,dAmount\n" + "".join(f"{number},{text}\n" for number, text in enumerate(texts, 1))
    (raw / "web_tracking_log.csv").write_text(table)
    line = "50x{0}\t2026-03-02T09:10:00.00\t1\tc\t79\t0\tu\th\ttagid=o&amount={1}\tMozilla/5.0\t192.0.2.1\n"
    (raw / "0x1.log").write_text("".join(line.format(hex(20 + n)[2:], text) for n, text in enumerate(texts)))
    report = store.ingest(raw)
    assert store.scan("web_event").collect()["amount"].drop_nulls().to_list() == [12.5, 12.5]
    reasons = store.scan("quarantine").sort("source_row").collect()["reason"].to_list()
    large = "larger than any amount can be"
    assert [large in reason for reason in reasons] == [True, True, False, True, True, False]
    told = [words for source in report.sources for words in source.assumptions]
    assert f"4 values of 'amount' that are {large} were left empty" in told
    assert "2 values of 'amount' that are no number were left empty" in told


def test_a_currency_stands_in_a_column_or_beside_the_number(tmp_path: Path) -> None:
    rows = ["1,100,eur", "2,€ 5,", "3,7 US$,", "4,8,", '5,"1.234,50 €",', "6,9,Points"]
    (tmp_path / "web_tracking_log.csv").write_text("iTrackingLogId,dAmount,sCurrency\n" + "\n".join(rows) + "\n")
    store = open_store(tmp_path / "store")
    store.ingest(tmp_path / "web_tracking_log.csv")
    assert store.scan("web_event").sort("event_id").select("amount", "currency").collect().rows() == [
        (100.0, "EUR"),
        (5.0, "EUR"),
        (7.0, "USD"),
        (8.0, None),
        (1234.5, "EUR"),
        (9.0, "POINTS"),
    ]


def of_purchases(folder: Path, *rows: tuple[str, float, str | None]) -> Store:
    """A store of purchases: delivery, amount, currency."""
    events = [open_of(str(n), one[0], f"m{n}", n, reported_type="transaction") for n, one in enumerate(rows, 1)]
    web = [{"event_id": str(n), "amount": one[1], "currency": one[2]} for n, one in enumerate(rows, 1)]
    messages = [message_of(f"m{n}", one[0]) for n, one in enumerate(rows, 1)]
    deliveries = [{"delivery_id": key, "state": 95, "ended_at": START} for key in sorted({one[0] for one in rows})]
    add(folder, event=events, web_event=web, message=messages, delivery=deliveries)
    return open_store(folder)


def test_files_tell_what_their_rows_come_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("7", 10.0, "EUR"), ("7", -4.0, None), ("8", 5.0, "JPY"), ("8", 6.0, "USD"), ("9", 0.0, None)]
    store = of_purchases(tmp_path, *rows)
    expected = [("7", 2, 1, 10.0, 1, 4.0, 6.0, 10.0), ("8", 2, 2, None, 0, 0.0, None, None),
                ("9", 1, 1, 0.0, 0, 0.0, 0.0, 0.0)]  # fmt: skip
    assert measure(store, MONEY[:7]).rows() == expected
    assert measure(Snapshot(store.snapshot().frames), MONEY[:7]).rows() == expected
    # An earlier version told only the net sum: its files are then read, for what they do not tell.
    old = ("sale", "sold", "known sale", "known sold", "first currency", "last currency")
    read = datafile._read_counts
    monkeypatch.setattr(
        datafile, "_read_counts", lambda text: read(text).with_columns(pl.lit(None).alias(name) for name in old)
    )
    earlier = open_store(tmp_path)
    assert measure(earlier, MONEY[:7]).rows() == expected
    assert measure(earlier, "web_visits").rows() == [("7", 2), ("8", 2), ("9", 1)]


def test_kept_sums_and_those_of_rows_are_not_added_over_currencies(tmp_path: Path) -> None:
    rows = [("7", 10.0, "EUR"), ("8", 5.0, "EUR"), ("9", 100.0, "JPY")]
    store = of_purchases(tmp_path, *rows)
    assert asked(store, "transaction_amount", by=[], delivery=["7", "8"]) == (15.0,)
    later = open_of("99", "10", "z", 9 * 24 * 3600, reported_type="transaction")
    add(tmp_path, event=[later], web_event=[{"event_id": "99", "amount": 1.0, "currency": "EUR"}])
    forget(tmp_path, before=(START.date().replace(day=START.day + 5)), keep_counts=True)
    store = open_store(tmp_path)
    assert measure(store, "transaction_amount").rows() == [("7", 10.0), ("8", 5.0), ("9", 100.0), ("10", 1.0)]
    assert asked(store, "transaction_amount", "sales", by=[]) == (None, 4)
    assert asked(store, "transaction_amount", "sales", by=[], delivery=["7", "8", "10"]) == (16.0, 3)


def test_one_who_clicks_the_optout_link_three_times_is_one_who_opted_out(tmp_path: Path) -> None:
    store = of_case("07-left-three-times", tmp_path)
    names = ["unsubscribe_clicks", "unsubscribe_rate", "unsubscribed_recipients", "recipient_unsubscribe_rate"]
    assert asked(store, *names) == (3, 0.75, 1, 0.25)
    assert_frame_equal(measure(store, names), measure(Snapshot(store.snapshot().frames), names))
