"""One label, one value: whatever pages of one delivery call by one name is one figure, in every language."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser

import trackkit as tk
from tests import notebooks
from trackkit.language import SOURCE, catalogue_file, languages, read, say
from trackkit.metrics import METRICS
from trackkit.report import REPORTS
from trackkit.report.header import MIME
from trackkit.report.template import template
from trackkit.runs.gallery import RATES, figures
from trackkit.runs.index import _rate
from trackkit.show.charts.canvas import SERIES
from trackkit.store import open_store

Once = Callable[[str, Callable[[Path], None]], Path]
ABOUT_ONE = [name for name in REPORTS if "delivery" in {each.name for each in REPORTS[name].parameters}]
PARTS = re.compile(r"(?P<rate>[\d.,]+%) ?\|? ?(?P<parts>[\d.,]+ (?:of|de|/) [\d.,]+)?")
# A delivery with all that may tell two figures of one name apart: control addresses, one of which failed; a browser
# that refuses cookies; a visit that names the delivery but no message; a hit without a date; an opt-out.
ODD = {
    "delivery.csv": """iDeliveryId,sLabel,iState,iMessageType,tsBroadStart,iToDeliver,iTotalTarget,iReject,iText
1,Odd,95,0,2026-05-01 10:00:00,8,9,1,2
""",
    "broadlog.csv": """@id,[@delivery-id],[@recipient-id],@address,@status,@eventDate,[msg/@failureReason],is_seed
11,1,1,a@one.example,1,2026-05-01 10:01:00,,0
12,1,2,b@one.example,1,2026-05-01 10:01:00,,0
13,1,3,c@two.example,1,2026-05-01 10:02:00,,0
14,1,4,d@two.example,2,2026-05-01 10:02:00,1,0
15,1,5,e@two.example,6,2026-05-01 10:02:00,,0
16,1,0,seed1@ours.example,1,2026-05-01 10:01:00,,1
17,1,0,seed2@ours.example,1,2026-05-01 10:01:00,,1
18,1,0,seed3@ours.example,2,2026-05-01 10:01:00,3,1
""",
    "tracking_url.csv": """iTrackingUrlId,iDeliveryId,iType,sLabel,sSource,sCategory
1,0,2,Open,,
2,1,1,Shop,https://shop.example/,
3,1,3,Opt-out,https://shop.example/out,
4,0,4,Home,https://shop.example/home,
5,0,5,Order,https://shop.example/order,
6,1,1,Share,https://face.example/,facebook
""",
    "tracking_log.csv": """@id,@logDate,[@url-id],[@broadLog-id],[@delivery-id],[@recipient-id],@sourceId
1,2026-05-01 11:00:00,1,11,1,1,
2,2026-05-01 11:01:00,2,11,1,1,aa
3,2026-05-01 11:02:00,2,11,1,1,bb
4,2026-05-01 11:03:00,6,11,1,1,cc
5,2026-05-01 12:00:00,1,12,1,2,
6,,1,12,1,2,
7,2026-05-01 12:01:00,3,12,1,2,dd
8,2026-05-01 12:02:00,4,11,1,1,aa
9,2026-05-01 12:03:00,4,0,1,0,zz
10,2026-05-01 12:04:00,5,11,1,1,aa
11,2026-05-01 12:05:00,2,16,1,0,ss
""",
}


@pytest.fixture(scope="session")
def odd_store(once: Once) -> Path:
    """A store of the odd delivery."""

    def make(folder: Path) -> None:
        raw = folder / "raw"
        raw.mkdir(parents=True)
        for name, text in ODD.items():
            (raw / name).write_text(text, "utf-8")
        open_store(folder / "store").ingest(str(raw))

    return once("odd_label", make) / "store"


@pytest.fixture(scope="session")
def demo_deliveries(demo_store: Path) -> list[str]:
    """The delivery of the small demo with the most clicks, and the one of text alone."""
    measured = tk.measure(open_store(demo_store), ["total_clicks", "total_opens", "delivered"])
    text = measured.filter(total_opens=0)["delivery_id"].to_list()
    return [measured.sort("total_clicks")["delivery_id"][-1], *text[:1]]


def _figures(store: Path, delivery: str, lang: str) -> dict[str, dict[str, set[str]]]:
    """What each label is said to be, by kind (a count, a rate), with the places that say so."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for report in ABOUT_ONE:
        for section, shown in notebooks.run(report, store=str(store), delivery=delivery, lang=lang):
            for label, text in _shown(shown, lang):
                for kind, value in _values(text):
                    found[f"{label}, {kind}"][value].add(f"{report}/{section}")
    for headline, shown in zip(RATES, _of_index(store, delivery, lang), strict=True):
        for kind, value in _values(f"{shown['value']} {shown['of']}"):
            found[f"{say(METRICS[headline].label, lang)}, {kind}"][value].add("index")
    return found


def _of_index(store: Path, delivery: str, lang: str) -> list[dict[str, str]]:
    rates = figures(open_store(store).snapshot(), [delivery])[delivery]
    return [_rate(name, rates[name], lang) for name in RATES]


def _values(text: str) -> Iterator[tuple[str, str]]:
    """The figures in a cell or a tile: a count, and a rate with its parts."""
    if text.startswith(say("n/a", SOURCE)) or text.startswith(say("n/a", "pt_BR")):
        yield "any", "n/a"
    elif rate := PARTS.search(text):
        yield "rate", f"{rate['rate']} {rate['parts'] or ''}".strip()
        yield from _values(text[: rate.start()]) if text[: rate.start()].strip() else ()
    elif text.strip():
        yield "count", text.strip(" |")


def _shown(shown: Any, lang: str) -> Iterator[tuple[str, str]]:
    if hasattr(shown, "header"):  # the head of the page
        yield from shown.header._repr_mimebundle_()[MIME]["facts"]
        return
    if shown is None or hasattr(shown, "to_dict") or hasattr(shown, "text"):  # a chart, or a finding
        return
    page = LexborHTMLParser(shown.as_raw_html() if hasattr(shown, "as_raw_html") else shown._repr_html_())
    for mark in page.css(".tk-what"):
        mark.decompose()
    for tile in page.css(".tk-figure"):
        value, *beneath = (node.text() for node in tile.css("strong, .tk-name ~ .tk-of"))
        yield " ".join(tile.css_first(".tk-name").text().split()), f"{value} {beneath[0]}" if "%" in value else value
    for table in page.css("table.gt_table"):
        heads = [" ".join(node.text().split()) for node in table.css("thead th")]
        rows = [[cell.text(separator=" ", strip=True) for cell in row.css("td, th")] for row in table.css("tbody tr")]
        yield from _of_table(heads, rows, lang)


def _of_table(heads: list[str], rows: list[list[str]], lang: str) -> Iterator[tuple[str, str]]:
    if heads and heads[0].startswith(say("Indicator", lang)):
        of = heads[0].removeprefix(say("Indicator", lang))  # " (attributed)", where all are of something else
        yield from ((row[0] + of, cell) for row in rows for cell in row[1:] if cell)
        return
    total = say("Total", lang)
    for row in rows:
        if total in row[:2]:
            yield from ((head, cell) for head, cell in zip(heads, row, strict=True) if head and cell != total)


def _assert_one_value(figures: dict[str, dict[str, set[str]]]) -> None:
    assert len(figures) > 60, "the pages say that much"
    assert {label: dict(values) for label, values in figures.items() if len(values) > 1} == {}


@pytest.mark.parametrize(("lang", "which"), [(SOURCE, 0), ("pt_BR", 1)])
def test_one_label_is_one_value_on_all_pages_of_a_delivery(
    demo_store: Path, demo_deliveries: list[str], lang: str, which: int
) -> None:
    _assert_one_value(_figures(demo_store, demo_deliveries[which], lang))


def test_one_label_is_one_value_in_portuguese(odd_store: Path) -> None:
    _assert_one_value(_figures(odd_store, "1", "pt_BR"))


def test_the_odd_delivery_tells_apart_what_one_word_would_mix_up(odd_store: Path) -> None:
    figures = _figures(odd_store, "1", SOURCE)
    _assert_one_value(figures)
    found = {label: next(iter(values)) for label, values in figures.items()}
    assert found["Success (without control addresses), count"] == "3"
    assert found["Success (with control addresses), count"] == "5"
    assert found["Errors, count"] == "2"
    assert found["Click rate (recipients), rate"] == "33.3% 1 of 3"
    assert found["Click rate (people), rate"] == "100.0% 3 of 3"
    assert found["Cumulated clicks, count"] == "3" and found["Link clicks, count"] == "7"
    assert found["Visited pages, count"] == "3" and found["Visited pages (attributed), count"] == "2"
    assert found["Open rate (recipients), rate"] == "66.7% 2 of 3" and found["Sum of opens, count"] == "3"


def test_a_metric_has_one_label_and_a_label_one_metric() -> None:
    labels = defaultdict(set)
    for report in REPORTS:
        for section in template(report).section:
            for name in section.metrics or []:
                own = (section.labels or {}).get(name, METRICS[name].label)
                labels[own].add(name)
                assert own == METRICS[name].label, (report, section.name)
    assert {label: names for label, names in labels.items() if len(names) > 1} == {}
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
    counts = {"opens": "total_opens", "clicks": "total_clicks", "transactions": "transactions"}
    assert {name: METRICS[metric].label for name, metric in counts.items()} == SERIES


# Pairs that mean the same thing in English too: a fallback, or the same word in another place.
SYNONYMS = [
    {"Delivery {id}", "delivery {id}"}, {"Message share", "Share of message clicks"},
    {"Shares", "Sharing activities"}, {"Share breakdown", "Breakdown of sharing activities"}, {"Url", "URL"},
    {"Open breakdown", "Breakdown of opens"}, {"E-mail", "e-mail"}, {"Other", "other"}, {"Machines", "machines"},
    {"People and machines", "people and machines"},
    {"Rejected", "Rejected by the sender"},
]  # fmt: skip


@pytest.mark.parametrize("lang", [lang for lang in languages() if lang != SOURCE])
def test_two_english_labels_do_not_become_one_in_another_language(lang: str) -> None:
    path = catalogue_file(lang)
    assert path
    said: dict[str, set[str]] = defaultdict(set)
    for message in read(path, lang):
        if message.id:
            ids, words = ([one] if isinstance(one, str) else list(one) for one in (message.id, message.string))
            for key, text in zip(ids, words, strict=True):
                said[text.casefold()].add(key)
    alike = [keys for keys in said.values() if len(keys) > 1 and keys not in SYNONYMS]
    assert alike == []
