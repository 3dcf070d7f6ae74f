"""A report in the browser that is rendered again whenever one of its files is saved: `trackkit preview`.

A server on the loopback interface shows the page in a frame, exactly as `render` writes it. Around it stands a page of
ours, whose script, allowed by its hash, waits for the next version. What is wrong stands above the last good page, with
file, section and key.
"""

import base64
import hashlib
import json
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trackkit import resources
from trackkit.errors import RequestError, TrackkitError
from trackkit.language import speech, tag
from trackkit.report import report_path, sources_of
from trackkit.report.checks import problems_of
from trackkit.report.common import newest
from trackkit.report.page import asked_scope
from trackkit.report.template import SKIN
from trackkit.report.workers import Renderers
from trackkit.show.theme import css_variables, theme

HOST = "127.0.0.1"
LOOK_SECONDS = 0.1  # between two looks at the files
PING_SECONDS = 10.0  # after which a browser that is gone is noticed
Stamp = Mapping[Path, tuple[int, int]]


@dataclass(frozen=True)
class State:
    """What the browser shows: the number of the version, the last good page, and what is wrong now."""

    number: int = 0
    page: bytes = b""
    errors: tuple[Mapping[str, str], ...] = ()
    seconds: float = 0.0


class Preview:
    """Renders a report when one of its files changes; each change of `state` wakes those who wait for it."""

    def __init__(self, renderers: Renderers, folder: Path, request: Mapping[str, Any]) -> None:
        self._renderers, self._folder, self._request = renderers, folder, request
        self._changed, self._ended = threading.Condition(), threading.Event()
        self._stamp: Stamp = {}
        self.state = State()

    def watch(self) -> None:
        """Render now, and again after each change, until `end`."""
        while not self._ended.is_set():
            stamp = _stamp(self._request["report"], self._request["lang"])
            if stamp != self._stamp:
                self._stamp = stamp  # what changes meanwhile is seen at the next look
                self._show(self._rendered())
            self._ended.wait(LOOK_SECONDS)

    def end(self) -> None:
        """Stop watching, and wake those who wait."""
        self._ended.set()
        with self._changed:
            self._changed.notify_all()

    @property
    def has_ended(self) -> bool:
        """Whether it was ended."""
        return self._ended.is_set()

    def after(self, number: int, seconds: float) -> State | None:
        """Return the state as soon as it is another than that of this number; None if it is not in time."""
        with self._changed:
            self._changed.wait_for(lambda: self.state.number != number or self.has_ended, seconds)
            return self.state if self.state.number != number else None

    def _show(self, state: State) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()

    def _rendered(self) -> State:
        started, number = time.monotonic(), self.state.number + 1
        try:
            page = self._renderers.render(out=self._folder, **self._request).read_bytes()
        except TrackkitError as error:
            errors = [_as_error(each) for each in problems_of(self._request["report"], self._request["lang"])]
            return State(number, self.state.page, tuple(errors) or ({"message": str(error)},))
        return State(number, page, (), time.monotonic() - started)


def _as_error(problem: Any) -> dict[str, str]:
    return {part: str(getattr(problem, part)) for part in ("path", "section", "key", "message")}


def _stamp(report: str, lang: str) -> Stamp:
    """The files behind a report as they are now; one that is just being replaced is left out."""
    stamp = {}
    for path in sources_of(report, lang):
        try:
            facts = path.stat()
        except OSError:
            continue
        stamp[path] = (facts.st_mtime_ns, facts.st_size)
    return stamp


def preview(
    report: str,
    store: str,
    delivery: str | None = None,
    port: int = 0,
    lang: str = "en",
    parameters: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
    scope: str = "",
) -> None:
    """Serve a report on this machine until Ctrl-C, and render it again after each change of its files.

    The address goes to `say`, and reports have the parameters of `render`, a `scope` among them. Raises RequestError as
    `report_path`, for a scope as `engine.scope.resolve`, and for a port that is taken.
    """
    over = asked_scope(newest(store), store, delivery or "", scope)
    try:
        report_path(report, ".", delivery, lang, {**(parameters or {}), **({"scope": over.text} if over else {})})
    except RequestError as error:  # a template that is wrong is shown in the browser, to be mended there
        if not problems_of(report, lang):
            raise error from None
    request = {"report": report, "store": store, "delivery": delivery, "lang": lang, "parameters": parameters}
    request |= {"scope": over.text} if over else {}
    with tempfile.TemporaryDirectory(prefix="tk-") as folder, Renderers(1) as renderers, _interruptible():
        shown = Preview(renderers, Path(folder), request)
        with _server(shown, port, lang) as server:
            watching = threading.Thread(target=shown.watch, daemon=True)
            watching.start()
            say(f"http://{HOST}:{server.server_address[1]}/")
            try:
                server.serve_forever(poll_interval=LOOK_SECONDS)
            except KeyboardInterrupt:
                pass
            finally:
                shown.end()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the server as Ctrl-C does, so that no process and no file is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _server(shown: Preview, port: int, lang: str) -> ThreadingHTTPServer:
    handler = type("_Answers", (_Handler,), {"shown": shown, "lang": lang})
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        raise RequestError(f"Port {port} cannot be had ({error.strerror}); leave --port out for a free one.") from None
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    """Answers one browser: the frame, the page in it, and the versions as server-sent events."""

    shown: Preview
    lang: str
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "trackkit", ""

    def do_GET(self) -> None:
        """Answer a request; another Host than this server's own is refused, as of a page that rebinds its name."""
        port = self.server.server_address[1]  # type: ignore[index]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self._send(403, "text/plain", b"This server answers only on this machine, under its own address.")
            return
        match urlsplit(self.path).path:
            case "/":
                policy, html = _frame(self.lang, self.shown.state.number)
                self._send(200, "text/html", html.encode(), policy)
            case "/page":
                self._send(200, "text/html", self.shown.state.page or b"<!doctype html><title>-</title>")
            case "/versions":
                self._send_versions()
            case _:
                self._send(404, "text/plain", b"Only this report is previewed; `trackkit run` makes all pages.")

    def _send(self, status: int, kind: str, content: bytes, policy: str = "frame-ancestors 'self'") -> None:
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _send_versions(self) -> None:
        """Send each version when it is there, until the browser or the server ends."""
        self.close_connection = True
        self.send_response(200)
        for name, value in (("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")):
            self.send_header(name, value)
        self.end_headers()
        number = -1
        try:
            while not self.shown.has_ended:
                state = self.shown.after(number, PING_SECONDS)
                if state:
                    number = state.number
                    facts = {"number": number, "errors": state.errors, "seconds": round(state.seconds, 2)}
                    self.wfile.write(f"data: {json.dumps(facts | {'has_page': bool(state.page)})}\n\n".encode())
                else:
                    self.wfile.write(b": still here\n\n")
                self.wfile.flush()
        except OSError:  # the browser is gone
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: a browser asks often."""


def _frame(lang: str, number: int) -> tuple[str, str]:
    """Return the policy and the HTML of the page around the report."""
    script = resources.find(f"{SKIN}/preview.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; connect-src 'self'; "
        "frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    try:
        colours = css_variables(theme())
    except RequestError:  # it is being changed
        colours = ""
    loader = FileSystemLoader([str(folder) for folder in resources.folders(SKIN)])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.globals |= speech(lang)
    template = environment.get_template("preview.html.j2")
    return policy, template.render(lang=tag(lang), colours=Markup(colours), script=Markup(script), number=number)
