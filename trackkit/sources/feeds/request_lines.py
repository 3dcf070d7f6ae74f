"""Lines of access logs, in the many forms of servers, as requests: one row per line, or why it is no request.

Read are the combined and the common form of Apache and nginx, bare or after a virtual host, a syslog header or a
container's; JSON objects, one a line, of nginx, Caddy, Traefik and others; and W3C extended logs, as IIS writes, whose
`#Fields:` may change. What a server writes of a connection without a sound request (`"-" 408`, bytes of TLS) is a row
without a method.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from trackkit.sources import values
from trackkit.sources.files import NOT_UTF8

NAMES = ("host", "user", "time", "method", "path", "status", "referer", "agent", "forwarded")
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
# Last, of a user agent with quotes that the server did not escape.
_TAIL = rf'(?: {_QUOTED} {_QUOTED}(?: {_QUOTED})?(?: .*)?| "([^"]*)" "(.*)"| .*)?$'
# How nearly all lines are written; the others are taken apart with more care. Where one sign always says what follows,
# the groups are found at a third of the cost: so no \S here, and what comes after the user agent is left for later.
PLAIN = (
    r'^([^ ]+) [^ ]+ ([^ ]+) \[([^\]]+)\] "([A-Z]+) ([^ "]+)(?: [^"]*)?" ([0-9]{3}) (?:[0-9]+|-)'
    rf"(?: {_QUOTED} {_QUOTED}( .*)?)?$"
)
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+"
_AT = rf"(?:[A-Z][a-z]{{2}} [ 0-9][0-9](?: [0-9]{{4}})? [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]+)?|{_ISO})"
_DATA = r'(?:-|(?:\[(?:[^\]"\\]|\\.|"(?:[^"\\]|\\.)*")*\])+)'
_PREFIX = "|".join(
    [
        rf"(?:<[0-9]{{1,3}}>)?1 \S+ \S+ \S+ \S+ \S+ {_DATA} ?\x{{FEFF}}?",  # syslog, RFC 5424
        # syslog, RFC 3164, and as it is filed
        rf"(?:<[0-9]{{1,3}}>)?{_AT} (?:[^\s:]+ )?[A-Za-z][^\s:\[]*(?:\[[0-9]+\])?: ?",
        rf"{_ISO} (?:stdout|stderr) [FP] ",  # a container's
        r"[A-Za-z][\w.-]* +\| ",  # docker compose
    ]
)
_ADDRESS = r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*(?:%[\w.-]+)?)"
# The client's name: an address that comes first, or after the virtual host; else what follows a host with a port.
_WHO = rf"(?:({_ADDRESS})(?:, ?[^\s,]+)*|\S+ ({_ADDRESS})|[^\s:]+:[0-9]+ ([^\s-]\S*)|(\S+))"
_ANY = rf'^{_WHO}(?: \S+(?: (.*?))?)? ?\[([^\[\]]+)\] "(.*?)" ([0-9]{{3}}|-) (?:[0-9]+|-){_TAIL}'
_HOSTS = ("first", "second", "third", "fourth")  # one of them has it
_AFTER_HOST = ("user", "time", "request", "status", "referer", "agent", "forwarded", "other referer", "other agent")
_CLOCK, _FINE_CLOCK = "%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S%.f %z"
_DIRECTIVE = r"^#(?:Fields|Software|Version|Date|Start-Date|End-Date|Remark|System|GMT-Offset):"
_W3C = {
    "host": ("c-ip", "c-dns", "s-computername"),
    "user": ("cs-username",),
    "method": ("cs-method",),
    "stem": ("cs-uri-stem", "cs-uri"),
    "query": ("cs-uri-query",),
    "status": ("sc-status",),
    "referer": ("cs(referer)",),
    "agent": ("cs(user-agent)",),
    "forwarded": ("x-forwarded-for", "cs(x-forwarded-for)"),
    "date": ("date",),
    "clock": ("time",),
}
_NO_LINE = "no line of an access log in the combined form"
# The keys of JSON objects that hold each part of a request, the best first: nginx's variables (`log_format …
# escape=json`), Caddy's `request` object, Traefik's access log, the Elastic Common Schema and load balancers.
_KEYS = {
    "host": "ClientHost request.client_ip request.remote_ip remote_addr remote_ip client_ip client_addr "
    "client.ip source.ip client.address source.address httpRequest.remoteIp request.remote_addr "
    "remote_host remote clientip client ip",
    "user": "remote_user user_id ClientUsername user.name user",
    "time": "time_iso8601 @timestamp StartUTC time_local timestamp EdgeStartTimestamp time msec ts datetime date_time "
    "event_time date",
    "method": "request_method method request.method http.request.method RequestMethod ClientRequestMethod "
    "httpRequest.requestMethod verb",
    "path": "request_uri request.uri RequestPath ClientRequestURI url.original httpRequest.requestUrl url.full "
    "url.path uri request_url url request_path path",
    "query": "args query_string query url.query",
    "status": "status http.response.status_code DownstreamStatus EdgeResponseStatus httpRequest.status status_code "
    "response_status response.status response_code response",
    "referer": "http_referer http_referrer request_Referer request.headers.Referer referer referrer "
    "http.request.referrer ClientRequestReferer httpRequest.referer",
    "agent": "http_user_agent request_User-Agent request.headers.User-Agent user_agent.original user_agent "
    "ClientRequestUserAgent httpRequest.userAgent agent",
    "forwarded": "http_x_forwarded_for request_X-Forwarded-For request.headers.X-Forwarded-For x_forwarded_for xff",
}
_REQUEST = re.compile(r"([A-Za-z]+) (\S+)")
_DEEPEST = 4
_WRAPPERS = ("log", "message", "MESSAGE", "event.original", "msg", "body")


@dataclass
class Requests:
    """Reads lines to requests; remembers the fields that a W3C log declared last."""

    fields: list[str] = field(default_factory=list)

    def read(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Return lines (`line`, `source_row`) with the parts of their requests, `at` and `reason`; headers left out."""
        parts = pl.col("line").str.extract_groups(PLAIN).struct.rename_fields([*NAMES[:-1], "rest"])
        rows = lines.with_columns(parts.alias("part")).unnest("part")
        rows = rows.with_columns(forwarded=pl.col("rest").str.extract(f"^ {_QUOTED}(?: |$)")).drop("rest")
        is_plain = rows["method"].is_not_null()
        if is_plain.all():
            return _with_instants(rows)
        rest = rows.filter(~is_plain).select("line", "source_row")
        others = [one for one in self._others(rest) if one.height]
        return _with_instants(pl.concat([rows.filter(is_plain), *others], how="diagonal_relaxed").sort("source_row"))

    def _others(self, rest: pl.DataFrame) -> list[pl.DataFrame]:
        """Return lines of the other forms with their parts."""
        rest, found = self._of_w3c(rest)
        rest = rest.with_columns(text=pl.col("line").str.replace(f"^(?:{_PREFIX})", ""))
        is_object = pl.col("text").str.contains(r"^[\s,\[]*\{")
        objects, texts = rest.filter(is_object), rest.filter(~is_object)
        if objects.height:
            known, packed = _of_objects(objects)
            found.append(known)
            texts = pl.concat([texts, packed])
        return [*found, _of_text(texts)]

    def _of_w3c(self, rest: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
        """Return the lines that are not of a W3C log, and those that are, by the `#Fields:` before them."""
        is_directive = rest["line"].str.contains(_DIRECTIVE)
        if not self.fields and not is_directive.any():
            return rest, []
        given = pl.when(pl.col("line").str.starts_with("#Fields:")).then(pl.col("line").str.strip_prefix("#Fields:"))
        fields = rest.select(given.str.strip_chars().forward_fill()).to_series().fill_null(" ".join(self.fields))
        if rest.height:
            self.fields = fields[-1].split()
        rest = rest.with_columns(fields=fields).filter(~is_directive)
        under = rest.filter(pl.col("fields") != "").partition_by("fields", as_dict=True)
        none = rest.filter(pl.col("fields") == "").drop("fields")
        return none, [_of_fields(some.drop("fields"), names.split()) for (names,), some in under.items()]


def _of_fields(lines: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Return the lines of a W3C log, in UTC; blanks are written `+` by IIS and `%20` by others."""
    places = {name.lower(): place for place, name in enumerate(names)}
    cells = pl.col("line").str.strip_chars().str.replace_all(r"[\t ]+", " ").str.split(" ")
    lines = lines.with_columns(cells=cells)
    is_whole = pl.col("cells").list.len() == len(names)

    def cell(part: str) -> pl.Expr:
        place = next((places[name] for name in _W3C[part] if name in places), None)
        text = pl.lit(None, pl.String) if place is None else pl.col("cells").list.get(place, null_on_oob=True)
        return pl.when(is_whole & (text != "-")).then(text)

    time = pl.concat_str(cell("date"), pl.lit("T"), cell("clock"), pl.lit("Z"))
    path = pl.concat_str(cell("stem"), pl.coalesce(pl.lit("?") + cell("query"), pl.lit("")))
    wrong = pl.format(f"{len(names)} fields expected, got {{}}", pl.col("cells").list.len())
    parts = {part: cell(part) for part in ("host", "user", "method", "status", "forwarded")}
    parts |= {"referer": _unpacked(cell("referer")), "agent": _unpacked(cell("agent")), "time": time, "path": path}
    return lines.select("line", "source_row", **parts, reason=pl.when(~is_whole).then(wrong))


def _unpacked(text: pl.Expr) -> pl.Expr:
    is_encoded = text.str.contains("%20", literal=True)
    return pl.when(is_encoded).then(decoded(text)).otherwise(text.str.replace_all("+", " ", literal=True))


_PERCENT = {code: sign for code, sign in values.PERCENT.items() if code != "+"}


def decoded(text: pl.Expr, signs: Mapping[str, str] = _PERCENT) -> pl.Expr:
    """Return text whose percent-encoded signs of ASCII are decoded, once."""
    return text.str.replace_many(list(signs), list(signs.values()), ascii_case_insensitive=True)


def _of_text(lines: pl.DataFrame) -> pl.DataFrame:
    """Return lines of the combined form in all its varieties: `text` is the line without what stands before it."""
    parts = pl.col("text").str.extract_groups(_ANY).struct.rename_fields([*_HOSTS, *_AFTER_HOST])
    rows = lines.with_columns(parts.alias("part")).unnest("part")
    request = pl.col("request").str.extract_groups(r"^([A-Z]+) (\S+)").struct
    return rows.select(
        *("line", "source_row", "user", "time", "status", "forwarded"),
        referer=pl.coalesce("referer", "other referer"),
        agent=pl.coalesce("agent", "other agent"),
        host=pl.coalesce(_HOSTS),
        method=request.field("1"),
        path=request.field("2"),
        reason=pl.when(pl.col("time").is_null()).then(pl.lit(_NO_LINE)),
    )


def _of_objects(lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the requests of JSON objects, and the lines that such objects wrap as text."""
    objects = [logged(text) for text in lines["text"]]
    inner = pl.Series([text_inside(one) for one in objects], dtype=pl.String)
    parts = [request_of(one) for one in objects]
    found = pl.DataFrame(parts, schema=dict.fromkeys([*NAMES, "reason"], pl.String()), orient="row")
    whole = pl.concat([lines.select("line", "source_row"), found], how="horizontal")
    return whole.filter(inner.is_null()), lines.with_columns(text=inner).filter(inner.is_not_null())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_PLACES: dict[str, tuple[str, int]] = {}  # the part that a key holds, and how good a key it is
for _part, _keys in _KEYS.items():
    for _place, _key in enumerate(_keys.split()):
        _PLACES.setdefault(_plain(_key), (_part, _place))


def logged(text: str) -> dict[str, Any] | None:
    """Return the values of a JSON object, inner ones under `outer.inner`; None where the text is none.

    >>> logged('{"request": {"uri": "/", "headers": {"Referer": ["a"]}}}')
    {'request.uri': '/', 'request.headers.Referer': 'a'}
    """
    try:
        found = orjson.loads(text.strip(" ,[]\t"))
    except ValueError:
        return None
    return dict(_flat(found, "")) if isinstance(found, dict) else None


def _flat(one: Mapping[str, Any], before: str, depth: int = 1) -> Iterator[tuple[str, Any]]:
    for name, value in one.items():
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, dict):
            if depth < _DEEPEST:
                yield from _flat(value, f"{before}{name}.", depth + 1)
        elif value is not None and (value != "" or name == "request"):
            yield before + name, value


def request_of(one: Mapping[str, Any] | None) -> tuple[str | None, ...]:
    """Return host, user, time, method, path, status, referer, agent, forwarded, and why it is no request or None."""
    if one is None:
        return (*[None] * len(NAMES), "no JSON object")
    found: dict[str, tuple[int, Any]] = {}
    for name, value in one.items():
        part, place = _PLACES.get(_plain(name), ("", 0))
        if part and (part not in found or place < found[part][0]):
            found[part] = (place, value)
    parts = {part: str(value) for part, (_, value) in found.items()}
    _complete(parts, one)
    lacking = [part for part in ("time", "method", "path", "status") if part not in parts]
    reason = f"a JSON object that names no {' and no '.join(lacking)} of a request" if lacking else None
    return (*[parts.get(part) for part in NAMES], reason)


def _complete(parts: dict[str, str], one: Mapping[str, Any]) -> None:
    """Take the request line apart, add the query to its path, and cut an instant of nanoseconds to microseconds."""
    if line := _REQUEST.match(str(one.get("request", ""))):
        parts["method"], parts["path"] = line.groups()
    elif "request" in one and "method" not in parts:  # bytes that are no request
        parts |= {"method": "-", "path": "-"}
    elif "query" in parts and "?" not in parts.get("path", "?"):
        parts["path"] += "?" + parts["query"].removeprefix("?")
    time = parts.get("time", "")
    if time.isdecimal() and len(time) > 17:
        parts["time"] = time[:-3]


def text_inside(one: Mapping[str, Any] | None) -> str | None:
    """Return the line that an object holds as text, as containers and log collectors wrap it.

    >>> text_inside({"log": '198.51.100.1 - - [05/Mar/2025:08:00:00 +0000] "GET / HTTP/1.1" 200 5\\n'})
    '198.51.100.1 - - [05/Mar/2025:08:00:00 +0000] "GET / HTTP/1.1" 200 5'
    """
    texts = (str(one[name]) for name in _WRAPPERS if name in one) if one else iter(())
    return next((text.strip() for text in texts if '"' in text and " [" in text), None)


def _with_instants(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the `instant` in words, and the reason where a line is none of an access log."""
    at = pl.col("time").str.to_datetime(_CLOCK, strict=False, time_unit="us")
    rows = rows.with_columns(instant=at.dt.strftime("%Y-%m-%d %H:%M:%S%.6fZ"))
    if rows["instant"].null_count():
        rows = _with_other_instants(rows)
    line, time = pl.col("line"), pl.col("time")
    marked = pl.when(line.str.contains(NOT_UTF8, literal=True)).then(pl.lit("not UTF-8"))
    torn = pl.when(line.str.contains("\x00", literal=True)).then(pl.lit("the line holds a NUL byte"))
    undated = pl.concat_str(pl.lit("the instant '"), time.str.head(100), pl.lit("' does not exist"))
    absent = pl.when(pl.col("instant").is_null()).then(pl.coalesce(undated, pl.lit(_NO_LINE)))
    given = [pl.col("reason")] if "reason" in rows.columns else []
    return rows.with_columns(reason=pl.coalesce(marked, torn, *given, absent))


def _with_other_instants(rows: pl.DataFrame) -> pl.DataFrame:
    """Read instants in other forms: with a fraction, ISO, or seconds since 1970."""
    rest = rows.lazy().with_columns(rest=pl.when(pl.col("instant").is_null()).then("time"))
    rest = values.with_instants(rest, {"iso": "rest"})
    fine = pl.col("rest").str.to_datetime(_FINE_CLOCK, strict=False, time_unit="us")
    exact = (pl.col("iso") - pl.duration(minutes=pl.col("iso offset"))).dt.replace_time_zone("UTC")
    known = pl.coalesce(fine, values.epoch(pl.col("rest")), exact).dt.strftime("%Y-%m-%d %H:%M:%S%.6fZ")
    local = pl.col("iso").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")  # without an offset: the clock of the load says
    return rest.with_columns(instant=pl.coalesce("instant", known, local)).drop("rest", "iso", "iso offset").collect()
