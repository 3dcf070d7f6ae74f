"""The message of hot clicks: shown whole, with numbered badges on its links.

On a page it stands in a shadow root that the page's HTML declares: neither style reaches the other, and the message is
in the picture at its full height without a script, on screen and on paper. JupyterLab, which adds HTML by script and so
declares no shadow root, shows it in a sandboxed frame.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from trackkit.language import say
from trackkit.show.cells import Cell

__all__ = ["ON_PAGE", "MarkedMessage", "link_mark", "message"]

ON_PAGE = "application/vnd.trackkit.page+html"  # HTML that only stands in a page of ours
# Pixels: the width of a message that states none, and of the widest one that is shown without cutting.
USUAL, WIDEST = 640, 1_200
_STATED = re.compile(r"width(?:=\"|:\s*)([0-9]{3,4})(?:px|\")")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# Nothing of a message can leave its sheet. Steps of heat are one colour, paler and paler, on a white ring.
STYLE = """
:host{display:block;container-type:inline-size}
.sheet{all:initial;display:block;contain:layout paint;max-height:60000px;overflow:hidden;background:#fff;color:#222;
color-scheme:light;font:16px/1.35 sans-serif;overflow-wrap:anywhere;print-color-adjust:exact;
-webkit-print-color-adjust:exact;--z:min(1,tan(atan2(100cqw,calc(var(--wide)*1px))));zoom:var(--z)}
a{color:#0b57d0;text-decoration:underline}img{max-width:100%}
pre{margin:0;padding:1em;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.7 monospace}p{margin:1em}
.click-share{display:inline-block;zoom:max(1,calc(.8/var(--z)));
margin:0 .35em;padding:0 .55em;border-radius:1em;border:1px solid #fff;
outline:1px solid var(--warn,#a2561a);font:600 13px/20px sans-serif;letter-spacing:0;text-indent:0;text-transform:none;
white-space:nowrap;vertical-align:middle;background:#fff;color:#1b2228;box-shadow:0 0 0 3px #fff}
.click-share b{font-weight:800}.click-share b::after{content:" ·";opacity:.6}
.heat-2{background:color-mix(in srgb,#a2561a 35%,#fff)}.heat-3{background:#a2561a;color:#fff}
.lit{box-shadow:0 0 0 3px #fff,0 0 0 7px #1f6f8b}
"""


@dataclass(frozen=True)
class MarkedMessage:
    """A message with its badges; its HTML is safe (`clickmap.marked_message`)."""

    html: Markup
    title: str
    lines: int
    lang: str = "en"

    def _repr_html_(self) -> str:
        frame = Markup('<iframe sandbox srcdoc="{}" title="{}" style="width:100%;height:{}em;border:0"></iframe>')
        return frame.format(str(self._framed()), self.title, round(self.lines * 1.2))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {ON_PAGE: str(self._on_page())}

    def _framed(self) -> Markup:
        head = Markup('<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{}"><style>{}</style>')
        return head.format(POLICY, Markup(STYLE)) + self._sheet()

    def _on_page(self) -> Markup:
        missing = say("This viewer cannot show the message; its links are in the table.", self.lang)
        host = Markup(
            '<div class="tk-message"><template shadowrootmode="open"><style>{}</style>{}</template>'
            '<p class="nothing">{}</p></div>'
        )
        return host.format(Markup(STYLE), self._sheet(), missing)

    def _sheet(self) -> Markup:
        # What it says is in the table beside it; a reader of the screen would hear its layout, cell by cell.
        hidden = Markup("") if "<pre>" in self.html[:200] else Markup(' aria-hidden="true"')
        sheet = Markup('<div class="sheet"{} style="--wide:{}">{}</div>')
        return sheet.format(hidden, _width(self.html), self.html)


def message(html: str, title: str, lines: int = 40, lang: str = "en") -> MarkedMessage:
    """Show the safe HTML of `clickmap.marked_message` or `sent_message` whole, scaled to the width of its card.

    `title` names it for screen readers; `lines` is the height of its frame in JupyterLab.

    >>> marked = tk.clickmap.marked_message(store, delivery)
    >>> message(marked, "The message").title
    'The message'
    """
    return MarkedMessage(Markup(html), title, lines, lang)


def _width(html: str) -> int:
    """The width that a message is made for, in pixels: the largest that it states, within reason."""
    stated = [int(width) for width in _STATED.findall(html[:200_000])]
    return max([USUAL, *(width + 20 for width in stated if width <= WIDEST)])


def link_mark(row: Mapping[str, Any]) -> Cell:
    """Show the number of a link as on its badges in the message; it leads there."""
    mark = Markup('<a class="tk-mark heat-{}" data-link="{}" href="#html_message">{}</a>')
    return mark.format(row["heat"], row["number"], row["number"])
