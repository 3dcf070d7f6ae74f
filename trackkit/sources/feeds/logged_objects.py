"""Requests that a web server logs as JSON objects, one a line: what their keys mean.

The names are those of nginx's variables (its documentation's `log_format … escape=json`), of Caddy's `request` object,
of Traefik's access log, of the Elastic Common Schema and of load balancers. A name is compared without case and signs.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

_NAMES = {
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
}  # fmt: skip
_PARTS = ("host", "user", "time", "method", "path", "status", "referer", "agent", "forwarded")
_REQUEST = re.compile(r"([A-Za-z]+) (\S+)")
_DEEPEST = 4
_WRAPPERS = ("log", "message", "MESSAGE", "event.original", "msg", "body")
_PLACES: dict[str, tuple[str, int]] = {}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


for _part, _names in _NAMES.items():
    for _place, _name in enumerate(_names.split()):
        _PLACES.setdefault(_plain(_name), (_part, _place))


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
        return (*[None] * len(_PARTS), "no JSON object")
    found: dict[str, tuple[int, Any]] = {}
    for name, value in one.items():
        part, place = _PLACES.get(_plain(name), ("", 0))
        if part and (part not in found or place < found[part][0]):
            found[part] = (place, value)
    parts = {part: str(value) for part, (_, value) in found.items()}
    _complete(parts, one)
    lacking = [part for part in ("time", "method", "path", "status") if part not in parts]
    reason = f"a JSON object that names no {' and no '.join(lacking)} of a request" if lacking else None
    return (*[parts.get(part) for part in _PARTS], reason)


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
    """Return the line that stands in an object as a text, as containers and collectors of logs wrap it.

    >>> text_inside({"log": '198.51.100.1 - - [05/Mar/2025:08:00:00 +0000] "GET / HTTP/1.1" 200 5\\n'})
    '198.51.100.1 - - [05/Mar/2025:08:00:00 +0000] "GET / HTTP/1.1" 200 5'
    """
    texts = (str(one[name]) for name in _WRAPPERS if name in one) if one else iter(())
    return next((text.strip() for text in texts if '"' in text and " [" in text), None)
