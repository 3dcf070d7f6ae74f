"""Lines of access logs, in whatever form servers write them, to requests: one row per line, or why it is none.

Read are the combined and the common form of Apache and nginx, bare or after a virtual host, a syslog header or a
container's; JSON objects, one a line, of nginx, Caddy, Traefik and others (`logged_objects`); and W3C extended logs,
as IIS writes, whose `#Fields:` may change. What a server writes of a connection without a sound request (`"-" 408`,
bytes of TLS) is a row without a method.
"""

from dataclasses import dataclass, field

import polars as pl

from trackkit.sources import values
from trackkit.sources.feeds.logged_objects import logged, request_of, text_inside
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
_BEFORE = "|".join(
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
_ANY_NAMES = (*_HOSTS, "user", "time", "request", "status", "referer", "agent", "forwarded", "other referer",
              "other agent")  # fmt: skip
_CLOCK, _FINE_CLOCK = "%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S%.f %z"
_DIRECTIVE = r"^#(?:Fields|Software|Version|Date|Start-Date|End-Date|Remark|System|GMT-Offset):"
_W3C = {
    "host": ("c-ip", "c-dns", "s-computername"), "user": ("cs-username",), "method": ("cs-method",),
    "stem": ("cs-uri-stem", "cs-uri"), "query": ("cs-uri-query",), "status": ("sc-status",),
    "referer": ("cs(referer)",), "agent": ("cs(user-agent)",), "forwarded": ("x-forwarded-for", "cs(x-forwarded-for)"),
    "date": ("date",), "clock": ("time",),
}  # fmt: skip
_NO_LINE = "no line of an access log in the combined form"


@dataclass
class Requests:
    """What is known of a log from the lines so far: the fields of a W3C log."""

    fields: list[str] = field(default_factory=list)

    def read(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Return lines (`line`, `source_row`) with the parts of their requests, `at` and `reason`; headers left out."""
        parts = pl.col("line").str.extract_groups(PLAIN).struct.rename_fields([*NAMES[:-1], "rest"])
        rows = lines.with_columns(parts.alias("part")).unnest("part")
        rows = rows.with_columns(forwarded=pl.col("rest").str.extract(f"^ {_QUOTED}(?: |$)")).drop("rest")
        is_plain = rows["method"].is_not_null()
        if is_plain.all():
            return _judged(rows)
        rest = rows.filter(~is_plain).select("line", "source_row")
        others = [one for one in self._others(rest) if one.height]
        return _judged(pl.concat([rows.filter(is_plain), *others], how="diagonal_relaxed").sort("source_row"))

    def _others(self, rest: pl.DataFrame) -> list[pl.DataFrame]:
        """Return lines of the other forms with their parts."""
        rest, found = self._of_w3c(rest)
        rest = rest.with_columns(text=pl.col("line").str.replace(f"^(?:{_BEFORE})", ""))
        is_object = pl.col("text").str.contains(r"^[\s,\[]*\{")
        objects, texts = rest.filter(is_object), rest.filter(~is_object)
        if objects.height:
            known, packed = _of_objects(objects)
            found.append(known)
            texts = pl.concat([texts, packed])
        return [*found, _of_text(texts)]

    def _of_w3c(self, rest: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
        """Return the lines that are none of a W3C log, and those that are, by the fields that hold where they stand."""
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
    return lines.select(
        "line", "source_row", *(cell(one).alias(one) for one in ("host", "user", "method", "status", "forwarded")),
        time=time, path=path, referer=_unpacked(cell("referer")), agent=_unpacked(cell("agent")),
        reason=pl.when(~is_whole).then(wrong),
    )  # fmt: skip


def _unpacked(text: pl.Expr) -> pl.Expr:
    is_encoded = text.str.contains("%20", literal=True)
    return pl.when(is_encoded).then(decoded(text)).otherwise(text.str.replace_all("+", " ", literal=True))


def decoded(text: pl.Expr) -> pl.Expr:
    """Return text whose percent-encoded signs of ASCII are decoded, once."""
    return text.str.replace_many(list(_PERCENT), list(_PERCENT.values()), ascii_case_insensitive=True)


_PERCENT = {f"%{code:02X}": chr(code) for code in range(0x20, 0x7F)}


def _of_text(lines: pl.DataFrame) -> pl.DataFrame:
    """Return lines of the combined form in all its varieties: `text` is the line without what stands before it."""
    parts = pl.col("text").str.extract_groups(_ANY).struct.rename_fields(list(_ANY_NAMES))
    rows = lines.with_columns(parts.alias("part")).unnest("part")
    request = pl.col("request").str.extract_groups(r"^([A-Z]+) (\S+)").struct
    return rows.select(
        "line", "source_row", "user", "time", "status", "forwarded",
        referer=pl.coalesce("referer", "other referer"), agent=pl.coalesce("agent", "other agent"),
        host=pl.coalesce(_HOSTS), method=request.field("1"), path=request.field("2"),
        reason=pl.when(pl.col("time").is_null()).then(pl.lit(_NO_LINE)),
    )  # fmt: skip


def _of_objects(lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return lines that are JSON objects of requests, or none; and those in which a line stands as a text."""
    objects = [logged(text) for text in lines["text"]]
    inner = pl.Series([text_inside(one) for one in objects], dtype=pl.String)
    parts = [request_of(one) for one in objects]
    found = pl.DataFrame(parts, schema=dict.fromkeys([*NAMES, "reason"], pl.String()), orient="row")
    whole = pl.concat([lines.select("line", "source_row"), found], how="horizontal")
    return whole.filter(inner.is_null()), lines.with_columns(text=inner).filter(inner.is_not_null())


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the `instant` in words, and the reason where a line is none of an access log."""
    at = pl.col("time").str.to_datetime(_CLOCK, strict=False, time_unit="us")
    rows = rows.with_columns(instant=at.dt.strftime("%Y-%m-%d %H:%M:%S%.6fZ"))
    if rows["instant"].null_count():
        rows = _otherwise_dated(rows)
    line, time = pl.col("line"), pl.col("time")
    marked = pl.when(line.str.contains(NOT_UTF8, literal=True)).then(pl.lit("not UTF-8"))
    torn = pl.when(line.str.contains("\x00", literal=True)).then(pl.lit("the line holds a NUL byte"))
    undated = pl.concat_str(pl.lit("the instant '"), time.str.head(100), pl.lit("' does not exist"))
    absent = pl.when(pl.col("instant").is_null()).then(pl.coalesce(undated, pl.lit(_NO_LINE)))
    given = [pl.col("reason")] if "reason" in rows.columns else []
    return rows.with_columns(reason=pl.coalesce(marked, torn, *given, absent))


def _otherwise_dated(rows: pl.DataFrame) -> pl.DataFrame:
    """Read instants in the other ways: with a fraction, in ISO form, or as seconds since 1970."""
    rest = rows.lazy().with_columns(rest=pl.when(pl.col("instant").is_null()).then("time"))
    rest = values.with_instants(rest, {"iso": "rest"})
    fine = pl.col("rest").str.to_datetime(_FINE_CLOCK, strict=False, time_unit="us")
    exact = (pl.col("iso") - pl.duration(minutes=pl.col("iso offset"))).dt.replace_time_zone("UTC")
    known = pl.coalesce(fine, values.epoch(pl.col("rest")), exact).dt.strftime("%Y-%m-%d %H:%M:%S%.6fZ")
    local = pl.col("iso").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")  # without an offset: the clock of the load says
    return rest.with_columns(instant=pl.coalesce("instant", known, local)).drop("rest", "iso", "iso offset").collect()
