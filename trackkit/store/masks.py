"""What in a text reveals who somebody is, in every spelling: addresses, IP addresses, what URLs say of their reader.

Worked out a value at a time, and of each column once for each distinct text that can hold such a thing at all.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable

import polars as pl

# An at sign: as it is, in a URL (coded once or more), in HTML, in JSON, and in full width.
AT = r"(?:@|%(?:25)*40|&#0*64;|&#[xX]0*40;|&commat;|\\u0040|\uff20)"
_LETTERS = r"[^\s@,;:<>\"'()\[\]{}=&?/|\\\uff20]"
_QUOTED = r"\\?\"[^\"\r\n]{1,64}\""
_RETURNED = rf"{_LETTERS}+=[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"  # bounces+ana=post.example@sender.example
LOCAL_PART = rf"(?:{_QUOTED}|{_RETURNED}|{_LETTERS}+(?:'{_LETTERS}+)*?)"
# The letters are greedy and hold a percent sign: what they took of a coded at sign is given back.
_ADDRESS = rf"{LOCAL_PART}({AT})"
_WHOLE = re.compile(rf"{LOCAL_PART}({AT})([\w.-]+)")
_WHOLE_ID = re.compile(r"[^\s@:/|]+@[^\s@:/|]+")
_IN_ID = re.compile(rf"({LOCAL_PART}){AT}([\w.-]+)")
_IPV4 = r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)"
WHOLE_IPV4 = rf"^{_IPV4}$"
_IPV4_IN_ID = re.compile(rf"(?<![\d.]){_IPV4}(?![\d.])")
_IPV4_IN_TEXT, _IPV4_IN_NAME = (rf"\b(\d{{1,3}}{dot}\d{{1,3}}{dot}\d{{1,3}}){dot}\d{{1,3}}\b" for dot in (r"\.", "-"))
_IPV6 = re.compile(
    r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?<=:)(?:\d{1,3}\.){3}\d{1,3})?(?![\w:]|\.\d)"
)
_AND = r"(?:&amp;|\\u0026|[?&;#])"
_EQUALS = r"(?:=|\\u003[dD])"
_URL = re.compile(r"\w+:(?:\\?/){2}[^\s\"'<>]+")
_PAIR = re.compile(rf"((?:[?&#]|&amp;|\\u0026)[^\s\"'<>=&;#?/\\]{{1,100}}{_EQUALS})([^\s\"'<>&#\\]+)")
_IN_TEXT = re.compile(f"(?P<url>{_URL.pattern})|{_PAIR.pattern}")
_PARTS = re.compile(f"({_AND})")
_ASKS = re.compile("[?#;]")
_LOGIN = re.compile(r"(?<=//)[^/@]*(?=@)")
_AT_IN_HTML = re.compile(r"&#0*64;|&#[xX]0*40;|&commat;")
_SEGMENT = re.compile(r"[A-Za-z0-9+_-]{8,}={0,2}")
# MD5, SHA-1, SHA-256, SHA-512: of an address, anybody can work them out.
DIGEST = r"^(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128})$"
_TEMPLATE = re.compile(r"<%.*%>|\{\{.*\}\}|\{%.*%\}|%%.*%%|\*\|.*\|\*|\[\[.*\]\]")  # what a sender fills in later
# What a text must hold to be looked at.
AT_SIGNS = ["@", "40", "64;", "&commat;", "\uff20"]
ASKS = ["?", "#", "&", "\\u0026", "://", ":\\/\\/"]

Keyed = Callable[[str], str]  # a keyed hash of a text


def without_queries(text: str, keyed: Keyed) -> str:
    """Return a text whose URLs, and whatever looks like part of one, say no value of their query or fragment."""
    return _IN_TEXT.sub(lambda found: _without(found, keyed), text)


def _without(found: re.Match[str], keyed: Keyed) -> str:
    return without_query(found["url"], keyed) if found["url"] else found[2] + value(found[3], keyed)


def without_query(url: str, keyed: Keyed) -> str:
    """Return a URL with a keyed hash in the place of each value of its query and its fragment, so that URLs stay apart.

    Of a value that is an address only who it is goes; what a sender's template fills in stays, and names stay.

    >>> without_query("https://shop.example/offer?email=ana%40x.example&token=T#top", lambda text: "~")
    'https://shop.example/offer?email=***%40x.example&token=~#~'
    """
    url = _AT_IN_HTML.sub("@", url)
    path = _ASKS.split(url, maxsplit=1)[0]
    hidden = _SEGMENT.sub(lambda one: _segment(one[0], keyed), _LOGIN.sub("***", path))
    parts = _PARTS.split(url[len(path) :])
    return hidden + "".join(part if place % 2 else _part(part, keyed) for place, part in enumerate(parts))


def _part(part: str, keyed: Keyed) -> str:
    name, equals, rest = _named(part)
    return name + equals + value(rest, keyed)


def _named(part: str) -> tuple[str, str, str]:
    match = re.match(rf"([^=]*?)({_EQUALS})(.*)", part, re.DOTALL)
    return (match[1], match[2], match[3]) if match else ("", "", part)


def value(text: str, keyed: Keyed) -> str:
    """Return what stands for one value of a query."""
    if not text or _TEMPLATE.fullmatch(text):
        return text
    address = _WHOLE.fullmatch(text)
    return f"***{address[1]}{address[2]}" if address else keyed(text)


def _segment(text: str, keyed: Keyed) -> str:
    """Return what stands for one word of a path; the address may stand after another word of it, as in `u-YW5u…`."""
    if _is_address(text):
        return keyed(text)
    return "".join(keyed(part) if _is_address(part) else part for part in re.split("([-_])", text))


def _is_address(word: str) -> bool:
    """Whether a word of a path is an address in Base64, or its hash."""
    try:
        plain = base64.b64decode(word.rstrip("=").replace("-", "+").replace("_", "/") + "===").decode()
    except (binascii.Error, ValueError):
        plain = ""
    return _WHOLE.search(plain) is not None or re.match(DIGEST, word) is not None


def without_ids(text: str, of: Keyed) -> str:
    """Return an id with the pseudonym in the place of each address in it: other ids stay others."""
    if _WHOLE_ID.fullmatch(text.strip()):
        return of(text)
    return _IN_ID.sub(lambda found: of(f"{found[1]}@{found[2]}"), text)


def without_ips(text: str, keyed: Keyed) -> str:
    """Return an id with the ends of IP addresses in it hashed: other ids stay others."""
    return _IPV4_IN_ID.sub(lambda found: f"{network(found[0])}-{keyed(found[0])}", text)


def addresses(text: pl.Expr) -> pl.Expr:
    """Return texts in which only the domain of an address is left."""
    return text.str.replace_all(_ADDRESS, "***${1}")


def ips(text: pl.Expr) -> pl.Expr:
    """Return texts in which IPv4 addresses, and names made of them, are cut to /24."""
    return text.str.replace_all(_IPV4_IN_TEXT, "${1}.0").str.replace_all(_IPV4_IN_NAME, "${1}-0")


def long_ips(text: str) -> str:
    """Return a text in which IPv6 addresses are cut to /48.

    >>> long_ips("from [2001:db8:1:2::7] at 08:01:00")
    'from [2001:db8:1::] at 08:01:00'
    """
    return _IPV6.sub(lambda found: network(found[0]) or found[0], text)


def network(address: str) -> str | None:
    """Return an IP address cut to /24 or /48; None for what is none."""
    try:
        ip = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    v4 = ip if ip.version == 4 else ip.ipv4_mapped
    return str(ipaddress.ip_network((v4 or ip, 24 if v4 else 48), strict=False).network_address)
