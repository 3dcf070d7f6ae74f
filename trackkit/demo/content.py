"""The message as sent, in HTML and in text: tables, inline styles, colour blocks, no pictures from the network.

A link is identified in one of the contract's three ways: by its redirect URL, its `data-url-id`, or its target.
"""

from html import escape
from importlib.resources import files

from trackkit.demo.plan import MIRROR, OPEN_ID, OPT_OUT, Plan, TrackedLink
from trackkit.demo.words import SHOP, TRACKER

REDIRECT, ATTRIBUTE, TARGET = range(3)
_PAGE = files("trackkit.demo").joinpath("message.html").read_text("utf-8")
_ANCHORS = ("hero", "again", *[""] * 4, "collection", "news", "account")  # in the order of links; "" are products
_SHAPES = ("36px", "4px", "36px 4px", "4px 36px 36px")
_TABLE = '<table role="presentation" cellpadding="0" cellspacing="0" width="100%">'


def html_content(plan: Plan, message_id: int) -> str:
    """Return the HTML of one delivery, as the message `message_id` carried it."""
    dark = plan.theme.dark
    anchors = [_anchor(plan, link, message_id) for link in plan.links]
    shares = [
        f'<a {anchor} style="color:{dark}">{escape(link.category)}</a>'
        for anchor, link in zip(anchors[9:-2], plan.links[9:-2], strict=True)
    ]
    return _PAGE.format(
        **dict(zip(_ANCHORS, anchors, strict=False)),
        **{name: escape(getattr(plan.theme, name)) for name in ("subject", "title", "lead", "dark", "light")},
        button=f"display:inline-block;padding:12px 26px;border-radius:4px;text-decoration:none;font-weight:bold;"
        f"background:{dark};color:#ffffff",
        shelf=[_product(plan, place, anchor) for place, anchor in enumerate(anchors[2:6])],
        shares=" · ".join(shares),
        shop=SHOP,
        opt_out=anchors[-2],
        mirror=anchors[-1],
        pixel=_redirect(plan, OPEN_ID, message_id),
    )


def _product(plan: Plan, place: int, anchor: str) -> str:
    """One cell of the shelf: a colour block in place of a picture."""
    dark, light = plan.theme.dark, plan.theme.light
    outer, inner = (dark, light) if place % 3 else (light, dark)
    return (
        f'<td width="50%" style="padding:12px">{_TABLE}<tr><td height="150" align="center" style="background:{outer}">'
        f'<div style="width:72px;height:72px;border-radius:{_SHAPES[place]};background:{inner}">&nbsp;</div></td></tr>'
        f'<tr><td style="padding:10px 0"><a {anchor} style="color:{dark}">{escape(plan.theme.products[place])}</a>'
        "</td></tr></table></td>"
    )


def text_content(plan: Plan, message_id: int) -> str:
    """Return the text of one delivery, as the message `message_id` carried it."""
    lines = [SHOP.upper(), "=" * len(SHOP), "", plan.theme.title, "", plan.theme.lead, ""]
    lines += [f"* {link.label}\n  {_redirect(plan, link.link_id, message_id, 't')}" for link in plan.links[:-2]]
    opt_out, mirror = (_redirect(plan, link.link_id, message_id, "t") for link in plan.links[-2:])
    return "\n".join([*lines, "", f"Read this letter in a browser: {mirror}", f"Unsubscribe: {opt_out}", ""])


def _anchor(plan: Plan, link: TrackedLink, message_id: int) -> str:
    """The HTML attributes of a link."""
    way = plan.number % 3
    if way == TARGET and (link.type_code in (OPT_OUT, MIRROR) or "<%=" in link.url):
        way = REDIRECT  # service and personalised links have no target of their own in the message
    target = _redirect(plan, link.link_id, message_id) if way == REDIRECT else link.url
    return f'href="{escape(target)}"' + (f' data-url-id="{link.link_id}"' if way == ATTRIBUTE else "")


def _redirect(plan: Plan, link_id: int, message_id: int, letter: str = "h") -> str:
    personal = any(link.link_id == link_id and "<%=" in link.url for link in plan.links)
    value = "&p1=Am%C3%A9lie" if personal else ""
    return f"{TRACKER}/r/?id={letter}{message_id:x},{plan.delivery_id:x},{link_id:x}{value}"
