"""What an analyst says without Python: links and bold, limits, decimals, paragraphs under a condition, variants."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_template import GOOD
from trackkit.errors import RequestError
from trackkit.report.checks import problems_of
from trackkit.report.prose import paragraphs
from trackkit.report.template import template

Writes = Callable[[str, str], Path]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writes:
    """`words(report, text)`: the analyst's own template of a report, in a project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    (tmp_path / "reports_templates").mkdir()

    def write(report: str, text: str) -> Path:
        path = tmp_path / "reports_templates" / f"{report}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(report: str, path: Path, *said: str) -> None:
    """Rendering and checking refuse a template in the same words."""
    with pytest.raises(RequestError) as error:
        template(report)
    for part in (str(path), *said):
        assert part in str(error.value)
    assert str(error.value) in [str(problem) for problem in problems_of(report)]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Plain, it's <b>so</b>: 3 & 4", "Plain, it's <b>so</b>: 3 & 4"),  # escaped by the page
        ("**a *b***", "<strong>a <em>b</em></strong>"),
        ("<b>*x*</b> it's `c`", "&lt;b&gt;<em>x</em>&lt;/b&gt; it&#39;s `c`"),
        (r"\*not\*, nor snake_case", "*not*, nor snake_case"),
        ("3 * 4 * 5", "3 * 4 * 5"),
        (
            '[a](https://b.example/?c="&d=*)',
            '<a href="https://b.example/?c=%22&amp;d=*" rel="noopener noreferrer">a</a>',
        ),
        ("[us](mailto:us@b.example)", '<a href="mailto:us@b.example" rel="noopener noreferrer">us</a>'),
        ("[x](javascript:alert(1))", "x"),
        ("[x](data:text/html,y)", "x"),
        ("![x](https://b.example/y.png)", "x"),
    ],
)
def test_a_text_has_bold_emphasis_and_links_and_nothing_else(text: str, html: str) -> None:
    assert paragraphs(text) == [html]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x](javascript:alert(1))", "the link 'javascript:alert(1)' is not one: it starts with https://"),
        ("**[x](//b.example)**", "the link '//b.example' is not one"),
        ("[x](https:b)", "the link 'https:b' is not one"),
        ("![x](https://b.example/y.png)", "a text has no pictures"),
    ],
)
def test_another_link_or_a_picture_is_refused_where_it_stands(words: Writes, text: str, said: str) -> None:
    path = words("urls_and_click_streams", GOOD.replace('title = "Links"', f'title = "Links"\ntext = "{text}"'))
    refused("urls_and_click_streams", path, "section 'top_links'", "key 'text'", said)
