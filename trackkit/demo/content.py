"""The message as sent, in HTML and in text: tables, inline styles, colour blocks, no picture from the network.

A link is known in one of the three ways that the contract names: its redirect URL, its `data-url-id`, or its target.
"""

from collections.abc import Callable
from html import escape

from trackkit.demo.plan import MIRROR, OPEN_ID, OPT_OUT, Link, Plan
from trackkit.demo.words import SHOP, TRACKER

REDIRECT, ATTRIBUTE, TARGET = range(3)
_LOGO = (  # a pebble, 24 pixels wide
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAABgAAAAYCAYAAADgdz34AAAAmElEQVR42mOY1lXBQEvMMGIsYAViNyBOg2I3qBhFFugA8Rkg/k8An4GqJdoCJi"
    "B+TITB6PgxVC9eC7xBii8d24ITE2GRNy4LXAgZToIlLtgs+E9FC/6jW7CajDAnhFcjW/CfRhhsgSkNLTAFWZBCQwtS6GIBzYOI5pFMl2RKC19g"
    "LyqohF3wFnYUYu8BLa7pUuHQrcqkCgYAXBv4FdffcwEAAAAASUVORK5CYII="
)
_TABLE = 'table role="presentation" cellpadding="0" cellspacing="0"'
_SHAPES = ("36px", "4px", "36px 4px", "4px 36px 36px")
_HERO = "color:#ffffff;font-size:36px;line-height:44px;text-decoration:none"
_CENTRE = "text-align:center"
_IMPRINT = f"{SHOP}, 7 Quarry Lane, Littlestone. You get this letter because you asked for it."
_CELL = "font-family:Georgia,'Times New Roman',serif;color:#2b2b2b"
_BUTTON = "display:inline-block;padding:12px 26px;border-radius:4px;text-decoration:none;font-weight:bold;"


def html_content(plan: Plan, message_id: int) -> str:
    """Return the HTML of one delivery, as the message `message_id` carried it."""
    hero, again, *products, shelf, news, account = (_anchor(plan, link, message_id) for link in plan.links[:9])
    shares = [_anchor(plan, link, message_id) for link in plan.links[9:-2]]
    opt_out, mirror = (_anchor(plan, link, message_id) for link in plan.links[-2:])
    theme = plan.theme
    tint, plain, soft = f"background:{theme.dark};color:#ffffff", f"color:{theme.dark}", "color:#777"
    passed_on = [share(link.category, plain) for share, link in zip(shares, plan.links[9:-2], strict=True)]
    rows = [
        _row(f"{escape(theme.lead)} {mirror('View in your browser', soft)}", f"{soft};font-size:12px"),
        _row(
            f'<img src="{_LOGO}" width="24" height="24" alt=""> {SHOP}',
            f"{plain};{_CENTRE};font-size:26px;letter-spacing:3px",
        ),
        _row(hero(theme.title, _HERO), f"{tint};padding:72px 28px;{_CENTRE};border-bottom:6px solid {theme.light}"),
        _row(
            f"<p>{escape(theme.lead)}</p>{again('Read the story', _BUTTON + tint)}",
            f"{_CENTRE};background:{theme.light}",
        ),
        _row(_shelf(plan, products), "padding:8px 14px"),
        _row(f"{shelf('See the collection', _BUTTON + tint)} &nbsp; {news('See the collection', plain)}", _CENTRE),
        _row(f"Good to see you again. {account('Your account, déjà vu', plain)}", f"background:{theme.light}"),
        _row(f"Pass it on: {' · '.join(passed_on)}", f"{_CENTRE};font-size:13px"),
        _row(f"{_IMPRINT} {opt_out('Unsubscribe', soft)}", f"{_CENTRE};{soft};font-size:12px"),
    ]
    pixel = _redirect(plan, OPEN_ID, message_id)
    return _PAGE.format(subject=escape(theme.subject), rows="\n".join(rows), cell=_CELL, table=_TABLE, pixel=pixel)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{subject}</title>
</head>
<body style="margin:0;background:#efece6">
<{table} width="100%" style="background:#efece6"><tr><td align="center">
<{table} width="600" style="max-width:600px;background:#ffffff;{cell}">
{rows}
</table>
</td></tr></table>
<img src="{pixel}" width="1" height="1" alt="">
</body>
</html>
"""


def text_content(plan: Plan, message_id: int) -> str:
    """Return the text of one delivery, as the message `message_id` carried it."""
    theme = plan.theme
    lines = [SHOP.upper(), "=" * len(SHOP), "", theme.title, "", theme.lead, ""]
    lines += [f"* {link.label}\n  {_redirect(plan, link.link_id, message_id, 't')}" for link in plan.links[:-2]]
    opt_out, mirror = (_redirect(plan, link.link_id, message_id, "t") for link in plan.links[-2:])
    return "\n".join([*lines, "", f"Read this letter in a browser: {mirror}", f"Unsubscribe: {opt_out}", ""])


def _row(body: str, style: str) -> str:
    return f'<tr><td style="padding:20px 28px;{style}">{body}</td></tr>'


def _shelf(plan: Plan, products: list[Callable[[str, str], str]]) -> str:
    """Four products, two by two, each a colour block in place of a picture."""
    dark, light = plan.theme.dark, plan.theme.light
    cells = [
        f'<td width="50%" style="padding:12px"><{_TABLE} width="100%">'
        f'<tr><td height="150" align="center" style="background:{(dark if place % 3 else light)}">'
        f'<div style="width:72px;height:72px;border-radius:{_SHAPES[place]};background:{light if place % 3 else dark}">'
        f"&nbsp;</div></td></tr>"
        f'<tr><td style="padding:10px 0">{anchor(name, f"color:{dark}")}</td></tr></table></td>'
        for place, (anchor, name) in enumerate(zip(products, plan.theme.products, strict=True))
    ]
    rows = "".join(f"<tr>{left}{right}</tr>" for left, right in zip(cells[::2], cells[1::2], strict=True))
    return f'<{_TABLE} width="100%">{rows}</table>'


def _anchor(plan: Plan, link: Link, message_id: int) -> Callable[[str, str], str]:
    """Return a writer of this link: `anchor(words, style)`."""
    way = TARGET if plan.number % 3 == 2 else plan.number % 3
    if way == TARGET and (link.type_code in (OPT_OUT, MIRROR) or "<%=" in link.url):
        way = REDIRECT  # service and personalised links have no target of their own in the message
    target = _redirect(plan, link.link_id, message_id) if way == REDIRECT else link.url
    mark = f' data-url-id="{link.link_id}"' if way == ATTRIBUTE else ""
    return lambda words, style: f'<a href="{escape(target)}"{mark} style="{style}">{escape(words)}</a>'


def _redirect(plan: Plan, link_id: int, message_id: int, letter: str = "h") -> str:
    personal = any(link.link_id == link_id and "<%=" in link.url for link in plan.links)
    value = "&p1=Am%C3%A9lie" if personal else ""
    return f"{TRACKER}/r/?id={letter}{message_id:x},{plan.delivery_id:x},{link_id:x}{value}"
