"""What fetches images in a reader's place is shown as that, in both languages, and as nobody's phone, PC or browser."""

import polars as pl

from tests import drawn
from tests.spec.test_audience import rows_of_hits
from trackkit.analysis.audience import opens_by, usage, versions
from trackkit.show import charts, tables

GMAIL = {"browser": "GmailImageProxy", "operating_system": None, "device": None}
YAHOO = GMAIL | {"browser": "YahooMailProxy"}
CHROME = {"browser": "Google Chrome", "operating_system": "Windows", "device": "PC"}


def test_mail_proxies_are_one_name_of_unknown_devices() -> None:
    hits = rows_of_hits(GMAIL, GMAIL, YAHOO, CHROME)
    by_browser = opens_by(hits, "browser", "7").select("name", "opens", "computer", "mobile", "unknown")
    assert by_browser.rows()[:2] == [("Mail proxy", 3, 0, 0, 3), ("Google Chrome", 1, 1, 0, 0)]
    assert opens_by(hits, "device", "7").select("name", "opens").rows()[:2] == [(None, 3), ("PC", 1)]


def test_they_are_said_in_the_readers_language() -> None:
    opens = opens_by(rows_of_hits(GMAIL, CHROME), "browser", "7")
    shown = tables.audience.name_table(opens, ["name", "opens"], lang="pt_BR").as_raw_html()
    assert "Proxy de e-mail" in shown and "Mail proxy" not in shown
    rows = drawn.rows(charts.audience.opens_bars(opens, lang="pt_BR"))
    assert {row["label"] for row in rows} == {"Proxy de e-mail", "Google Chrome"}


def test_their_versions_are_their_names() -> None:
    hits = rows_of_hits(GMAIL | {"event_type": "clicked"}, YAHOO | {"event_type": "clicked"})
    assert usage(hits, "browser", "7")["name"].to_list()[:1] == ["Mail proxy"]
    found = versions(hits, "browser", "7")
    assert isinstance(found, pl.DataFrame)
    assert set(found.select("name", "version").rows()) == {
        ("Mail proxy", "GmailImageProxy"),
        ("Mail proxy", "YahooMailProxy"),
    }
