"""Ranges of IP addresses from a file that the user supplies, and the addresses that lie in them."""

import ipaddress
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import polars as pl

from trackkit.errors import RequestError


class Range(NamedTuple):
    """The first and last address of a range, as numbers."""

    first: int
    last: int


Ranges = tuple[tuple[Range, ...], tuple[Range, ...]]  # of IPv4 and of IPv6, in order, none within another


def ranges_of(file: str) -> Ranges | None:
    """Return the ranges of a file: one a line, or in the first column of a CSV; None without a file.

    Raises RequestError naming the line that is no range.
    """
    if not file:
        return None
    try:
        return _read(file, Path(file).stat().st_mtime_ns)
    except OSError as error:
        raise RequestError(f"The file of address ranges {file!r} cannot be read: {error.strerror}.") from None


@lru_cache(maxsize=8)
def _read(file: str, changed_at: int) -> Ranges:
    networks = []
    for number, line in enumerate(Path(file).read_text("utf-8-sig").splitlines(), 1):
        word = line.split("#")[0].split(",")[0].strip()
        try:
            networks += [ipaddress.ip_network(word, strict=False)] if word else []
        except ValueError:
            raise RequestError(f"{file}, line {number}: {word[:80]!r} is no range such as '192.0.2.0/24'.") from None
    v4 = ipaddress.collapse_addresses(net for net in networks if isinstance(net, ipaddress.IPv4Network))
    v6 = ipaddress.collapse_addresses(net for net in networks if isinstance(net, ipaddress.IPv6Network))
    return tuple(map(_range, v4)), tuple(map(_range, v6))


def _range(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Range:
    return Range(int(network.network_address), int(network.broadcast_address))


def are_in(addresses: pl.Series, ranges: Ranges | None) -> pl.Series:
    """Return whether each address lies in a range; false for null, other text, and without ranges.

    Each different address is looked up once. A shortened address (it ends in `.0` or `::`) stands for its network, and
    is in a range only with the whole of it.

    >>> some = ((Range(0xC0000200, 0xC00002FF),), ())
    >>> are_in(pl.Series(["192.0.2.9", "192.0.2.0", "192.0.3.1", "2001:db8::", None]), some).to_list()
    [True, True, False, False, False]
    """
    if not ranges:
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, addresses.len())
    inside = [text for text in addresses.unique().drop_nulls() if _is_in(text, ranges)]
    return addresses.is_in(pl.Series(inside, dtype=pl.String).implode()).fill_null(False)


def _is_in(text: str, ranges: Ranges) -> bool:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    hidden = (8 if text.endswith(".0") else 0) if ip.version == 4 else (80 if text.endswith("::") else 0)
    first = int(ip)
    ordered = ranges[0] if ip.version == 4 else ranges[1]
    place = bisect_right(ordered, (first, 1 << 130)) - 1
    return place >= 0 and first + (1 << hidden) - 1 <= ordered[place].last
