"""The badges of hot clicks: one link at several places says so, and what is little is not nothing."""

from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from tests.spec.golden import at, tables
from trackkit import open_store
from trackkit.analysis.clickmap import annotated_message, placed_clicks

CASE = Path(__file__).parent / "cases/output/10-same-url-thrice/input"


def badges(page: str) -> list[tuple[str, str]]:
    found = BeautifulSoup(page, "html.parser").select("span.click-share")
    return [(badge.get_text(), str(badge["title"])) for badge in found]


def given(body: str, clicks: dict[str, int], format: str = "html") -> Any:
    """Delivery 7 with a message, and its links by address, each clicked so often."""
    hits = [link for link, count in clicks.items() for _ in range(count)]
    return tables(
        delivery=[{"delivery_id": "7"}],
        content=[{"delivery_id": "7", "message_format": format, "body": body}],
        link=[{"link_id": url[-1], "delivery_id": "7", "url": url, "type_code": 1, "label": url} for url in clicks],
        event=[{"event_id": str(n), "delivery_id": "7", "link_id": url[-1], "event_type": "clicked", "is_seed": False,
                "occurred_at": at(12)}
               for n, url in enumerate(hits)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lang", "told"),
    [("en", ("94% · link at 3 places", "15 clicks, at 3 places together")),
     ("pt_BR", ("94% · link em 3 lugares", "15 cliques, nos 3 lugares juntos"))],
)  # fmt: skip
def test_one_link_at_three_places_says_so_and_the_shares_add_up(
    tmp_path: Path, lang: str, told: tuple[str, str]
) -> None:
    store = open_store(str(tmp_path))
    store.ingest(str(CASE))
    last = ("6%", "1 clique" if lang == "pt_BR" else "1 click")
    assert badges(annotated_message(store, "1001", lang=lang)) == [told, told, told, last]
    placed = placed_clicks(store, "1001").filter("placed")
    assert placed.select("link_id", "clicks", "total", "places").rows() == [("100101", 15, 16, 3), ("100102", 1, 16, 1)]


A, B = "https://x.example/a", "https://x.example/b"


def test_little_is_not_nothing_and_nearly_all_is_not_all() -> None:
    body = f'<a href="{A}">a</a><a href="{B}">b</a>'
    assert [text for text, _ in badges(annotated_message(given(body, {A: 499, B: 1}), "7"))] == [">99%", "<1%"]
    assert [text for text, _ in badges(annotated_message(given(body, {A: 199, B: 1}), "7"))] == [">99%", "1%"]  # 0.5
    assert [text for text, _ in badges(annotated_message(given(body, {A: 4, B: 0}), "7"))] == ["100%", "0%"]


@pytest.mark.parametrize(
    "body",
    [
        f'<a href="{A}"><img alt="x"></a> <a href="{A}">button</a>',
        f'<map name="m"><area href="{A}"><area href="{A}"></map>',
        f'<a href="{A}">x</a><div style="display:none"><a href="{A}">the same for telephones</a></div>',
        f'<a href="{A}"><table><tr><td><a href="{A}">nested</a></td></tr></table></a>',
    ],
)
def test_an_image_and_a_button_areas_of_a_map_and_hidden_links_are_places_too(body: str) -> None:
    shown = badges(annotated_message(given(body, {A: 2, B: 2}), "7"))
    assert shown == [("50% · link at 2 places", "2 clicks, at 2 places together")] * 2


def test_the_text_version_says_so_as_well() -> None:
    shown = annotated_message(given(f"Look: {A}\nAgain: {A}.", {A: 3, B: 1}, "text"), "7", "text")
    assert badges(shown) == [("75% · link at 2 places", "3 clicks, at 2 places together")] * 2


def test_a_thousand_places_and_hostile_words_are_calm() -> None:
    body = f'<a href="{A}"><b title="&quot;><script>1%</script>">x</b></a>' * 1_000
    shown = annotated_message(given(body, {A: 1}), "7")
    assert "<script" not in shown and len(badges(shown)) == 1_000
    assert badges(shown)[0] == ("100% · link at 1,000 places", "1 click, at 1,000 places together")
