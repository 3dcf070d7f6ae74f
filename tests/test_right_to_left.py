"""Text of logs in any script: Hebrew and Arabic keep their punctuation, marks that nobody sees are no question marks,
emoji stay whole, and what could forge the text around it stays harmless."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trackkit.report import render
from trackkit.show.exports import as_text
from trackkit.show.wording import FENCE, FENCE_END, clipped, plain, short
from trackkit.store import open_store

CASE = Path(__file__).parent / "cases/output/18-rtl-long-emoji/input"
HEBREW, ARABIC = "\u05dc\u05e7\u05e0\u05d9\u05d9\u05d4 \u05e2\u05db\u05e9\u05d9\u05d5!", "\u0642\u0633\u0645 (1) 100%"
FAMILY, BRAZIL = "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f1e7\U0001f1f7"
THUMB, ENGLAND = "\U0001f44d\U0001f3fd", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HEBREW, FENCE + HEBREW + FENCE_END), (ARABIC, FENCE + ARABIC + FENCE_END), ("Caf\u00e9!", "Caf\u00e9!"),
        ("Z\u00fcrich\u200bStra\u00dfe", "Z\u00fcrichStra\u00dfe"), ("\ufeffSpring\u00ad\u2060sale", "Springsale"),
        ("\u0645\u06cc\u200c\u062e", f"{FENCE}\u0645\u06cc\u200c\u062e{FENCE_END}"),
        ("Sale\u200e!", "Sale\u200e!"), (f"{FAMILY}{BRAZIL}\u2764\ufe0f", f"{FAMILY}{BRAZIL}\u2764\ufe0f"),
        ("12\u200f3", f"{FENCE}12\u200f3{FENCE_END}"), ("a\u202eb", "a\ufffdb"), ("a\u2066b\u2069", "a\ufffdb\ufffd"),
        ("a\u2068b", "a\ufffdb"), ("a\u2069b", "a\ufffdb"), ("a\u2068\u202eb\u2069", "a\ufffd\ufffdb\ufffd"),
        ("a\x1b[2J\x9b", "a\ufffd[2J\ufffd"),
    ],
)  # fmt: skip
def test_marks_that_mean_something_stay_and_those_that_forge_do_not(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert plain(plain(text)) == shown, "once more changes nothing"


def test_every_fence_that_is_begun_is_ended() -> None:
    for text in (HEBREW * 50, f"{FENCE}a{FENCE_END}{HEBREW}" * 20, HEBREW + FENCE, FENCE_END + HEBREW):
        for shown in (plain(text), clipped(text, 30), short(text, 30), clipped(clipped(text, 60), 30)):
            inner = str(shown)
            assert inner.count(FENCE) == inner.count(FENCE_END)
            assert inner.index(FENCE) < inner.index(FENCE_END)


@pytest.mark.parametrize("one", [FAMILY, BRAZIL, THUMB, ENGLAND, "e\u0301", "\u2764\ufe0f"])
def test_no_letter_is_cut(one: str) -> None:
    for longest in range(2, 40):
        start = clipped("x" + one * 40, longest).removesuffix("…")
        assert start == "x" + one * (len(start) // len(one))
        assert len(start) < longest
    for longest in range(12, 60):
        shown = short(one * 40, longest).striptags()
        head, tail = shown.split("…")
        assert head == one * (len(head) // len(one)) and tail == one * (len(tail) // len(one)), longest
    assert len(clipped("e" + "\u0301" * 500, 100)) <= 100, "a letter of 500 accents is cut after all"


def test_the_table_of_the_prompt_keeps_emoji_and_words() -> None:
    shown = as_text(pl.DataFrame({"label": [FAMILY, "\u0645\u06cc\u200c\u062e", "a\x1b[2J", "b\u202ec"]}))
    assert FAMILY in shown and "\u0645\u06cc\u200c\u062e" in shown and r"a\x1b[2J" in shown and r"b\u202ec" in shown


# Where the mark at the end of the words stands, and where the words begin: from right to left, left of them.
ENDS_LEFT = """(text) => {
  const node = document.createTreeWalker(text, NodeFilter.SHOW_TEXT).nextNode();
  const words = node.data.replace(/[\\u2068\\u2069]/g, "");
  const at = (letter) => {
    const range = document.createRange();
    const place = node.data.indexOf(letter);
    range.setStart(node, place);
    range.setEnd(node, place + 1);
    return range.getBoundingClientRect().left;
  };
  return at(words.at(-1)) < at(words[0]);
}"""


@pytest.mark.parametrize("lang", ["en", "pt_BR"])
def test_the_pages_of_a_delivery_with_such_labels(browser: Any, tmp_path: Path, lang: str) -> None:
    store = open_store(str(tmp_path / "store"))
    store.ingest(str(CASE))
    made = render("urls_and_click_streams", tmp_path / "store", tmp_path, "1801", lang)
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.goto(made.as_uri())
    assert "\ufffd" not in page.inner_text("body")
    links = page.query_selector_all("tbody .link")
    legend = page.query_selector_all("svg:not(.narrow) .role-legend-label text")
    named = {"Z\u00fcrichStra\u00dfe", f"{FAMILY}{BRAZIL} Fam\u00edlia"}
    for part, expected in ((links, named | {HEBREW}), (legend, named)):
        by_text = {text.text_content().strip(FENCE + FENCE_END): text for text in part}
        assert expected <= set(by_text)
        assert HEBREW not in expected or by_text[HEBREW].evaluate(ENDS_LEFT)
        assert max(map(len, by_text)) <= 80
    assert page.query_selector("h1 bdi").text_content().strip(FENCE + FENCE_END).endswith("(\u05d7\u05dc\u05e7 2)")
    assert page.query_selector("p.subject").evaluate(ENDS_LEFT)
