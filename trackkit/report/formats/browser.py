"""Prints a page as PDF with a Chromium of this machine, or with playwright's: headless, offline, A4.

With playwright (`trackkit[pdf]`) one browser prints all pages of a process; else each page starts one.
"""

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from trackkit.errors import ReportError, RequestError

VARIABLE = "TRACKKIT_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
SECONDS = 120  # for one page
# A page loads nothing by its own policy; nor does the browser, whatever its components would like to.
FLAGS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
MISSING = (
    "pdf needs Chromium, Chrome or Edge on the PATH, or in the variable TRACKKIT_CHROMIUM; or: "
    "pip install 'trackkit[pdf]', and then: playwright install chromium."
)


def require_browser() -> str:
    """Return the path of the browser that prints; RequestError if there is none."""
    if named := os.environ.get(VARIABLE):
        if path := shutil.which(named):
            return path
        raise RequestError(f"{VARIABLE} names {named!r}, which is no program.")
    path = next((path for name in NAMES if (path := shutil.which(name))), None) or _of_playwright()
    if path is None:
        raise RequestError(MISSING)
    return path


@cache
def _of_playwright() -> str | None:
    """Return the path of the Chromium that playwright installed, if both are there."""
    try:
        path = _thread().submit(lambda: _playwright().chromium.executable_path).result(SECONDS)
    except Exception:  # it is not installed, or does not start
        return None
    return str(path) if Path(path).exists() else None


def printed(html: str) -> bytes:
    """Return a page as PDF; ReportError if the browser fails or hangs."""
    path = require_browser()
    with tempfile.TemporaryDirectory(prefix="tk-", ignore_cleanup_errors=True) as folder:
        page, pdf = Path(folder, "page.html"), Path(folder, "page.pdf")
        page.write_text(html, encoding="utf-8")
        try:
            _thread().submit(_print_with_playwright, path, page, pdf).result(SECONDS)
        except Exception:  # playwright is not installed, or its browser ended
            _browser.cache_clear()
            _print_alone(path, page, pdf, Path(folder, "profile"))
        return pdf.read_bytes()


def _print_alone(path: str, page: Path, pdf: Path, profile: Path) -> None:
    """Print with a browser of this page's own."""
    options = ["--headless", *FLAGS, *_sandbox(), f"--user-data-dir={profile}", "--no-pdf-header-footer"]
    command = [path, *options, "--generate-pdf-document-outline", f"--print-to-pdf={pdf}", page.as_uri()]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ReportError(f"The page could not be printed: {path} did not end within {SECONDS} seconds.") from None
    if not pdf.exists():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ReportError(f"The page could not be printed: {path}: {said[-1] if said else f'code {done.returncode}'}")


def _sandbox() -> list[str]:
    """Chromium's sandbox refuses to run as root; only then is it left out."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


@cache
def _thread() -> ThreadPoolExecutor:
    """The thread of playwright: its loop must not run in one where notebooks run theirs."""
    return ThreadPoolExecutor(1)


@cache
def _playwright() -> Any:
    from playwright.sync_api import sync_playwright

    return sync_playwright().start()


@cache
def _browser(path: str) -> Any:
    return _playwright().chromium.launch(executable_path=path, args=[*FLAGS, *_sandbox()])


def _print_with_playwright(path: str, page: Path, pdf: Path) -> None:
    context = _browser(path).new_context(offline=True, java_script_enabled=True)
    try:
        tab = context.new_page()
        tab.goto(page.as_uri(), timeout=SECONDS * 1000)
        tab.pdf(path=pdf, prefer_css_page_size=True, format="A4", print_background=True, tagged=True, outline=True)
    finally:
        context.close()
