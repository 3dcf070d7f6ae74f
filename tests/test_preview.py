"""The preview: what is saved shows in the browser, what is wrong too, and nobody else gets an answer."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from trackkit import resources
from trackkit.errors import RequestError
from trackkit.report.preview import preview

REPORT = "browsers"
SCOPE = "campaign:301"
ROOT = Path(__file__).resolve().parents[1]


class Served:
    """A preview that runs, in a folder whose template wins."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.template = folder / "reports_templates" / f"{REPORT}.toml"
        self.template.parent.mkdir()
        (folder / "trackkit.toml").touch()
        self.shipped = resources.find(f"reports_templates/{REPORT}.toml").read_text("utf-8")
        self.template.write_text(self.shipped)
        command = [sys.executable, "-m", "trackkit", "preview", REPORT, "--store", str(store), "--scope", SCOPE]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "PYTHONUNBUFFERED": ""}
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def ask(self, path: str = "/", host: str = "") -> tuple[int, str]:
        """The status and the words of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def served(demo_store: Path, tmp_path: Path) -> Iterator[Served]:
    preview = Served(tmp_path, demo_store)
    yield preview
    if preview.process.poll() is None:
        preview.process.send_signal(signal.SIGINT)
        preview.process.wait(60)


def test_it_answers_this_machine_alone_and_ends_without_a_trace(served: Served, tmp_path: Path) -> None:
    assert served.url == f"http://127.0.0.1:{served.port}/"
    status, frame = served.ask()
    assert status == 200 and "<iframe" in frame and served.ask(host=f"localhost:{served.port}")[0] == 200
    assert served.ask(host="evil.example")[0] == served.ask(host=f"evil.example:{served.port}")[0] == 403
    assert served.ask("/../reports_templates/browsers.toml")[0] == served.ask("/index.html")[0] == 404
    assert not re.search(r"https?://", frame), "it asks nobody else"
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(served.process.pid)], capture_output=True, text=True)
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(60) == 0
    for pid in map(int, children.stdout.split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list(tmp_path.glob("tk-*")) == [], "no file is left"


def test_a_port_that_is_taken_and_a_wrong_request_are_refused(demo_store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=f"Port {port} cannot be had"):
            preview(REPORT, str(demo_store), port=port)
    with pytest.raises(RequestError, match="Did you mean 'browsers'"):
        preview("browser", str(demo_store))
    with pytest.raises(RequestError, match="There is no campaign 'none'"):
        preview(REPORT, str(demo_store), scope="campaign:none")
    with pytest.raises(RequestError, match="has no parameter 'scope'"):
        preview("web_application", str(demo_store), scope=SCOPE)
    with pytest.raises(RequestError, match="has no parameter 'colour'"):
        preview(REPORT, str(demo_store), parameters={"colour": "red"})


@pytest.mark.browser
def test_what_is_saved_shows_and_errors_name_file_section_and_key(served: Served, browser) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.set_default_timeout(120_000)
    page.goto(served.url)
    shown = page.frame_locator("#page")
    shown.locator("h1").first.wait_for()
    assert "campaign 301" in shown.locator("header .line").first.inner_text()

    served.template.write_text(re.sub(r'(?m)^title = ".*"', 'title = "Words of mine"', served.shipped, count=1))
    shown.get_by_text("Words of mine").first.wait_for()
    assert "waiting for the next save" in page.inner_text("#state")

    broken = re.sub(r'(?m)^title = "', 'tittle = "', served.shipped.partition("[[section]]")[2], count=1)
    head = served.shipped.partition("[[section]]")[0]
    served.template.write_text(f"{head}[[section]]{broken}")
    page.wait_for_selector("#errors li")
    error = page.inner_text("#errors")
    section = re.search(r'name = "(\w+)"', broken)[1]
    assert str(served.template) in error and f"section {section}" in error and "key tittle" in error, error
    assert "Did you mean 'title'?" in error and "last good page" in page.inner_text("#state")
    assert shown.get_by_text("Words of mine").first.is_visible(), "the last good page stays"

    served.template.write_text(served.shipped)
    page.wait_for_selector("#errors", state="hidden")
    shown.get_by_text("Words of mine").first.wait_for(state="detached")
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(60) == 0
    page.get_by_text("The preview has ended").wait_for()
    assert [text for text in said if "ERR_" not in text] == []
