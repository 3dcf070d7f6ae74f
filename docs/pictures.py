"""Draws the pictures of the guide: `python docs/pictures.py STORE`, with the demo's store and Chromium."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from trackkit.project_options import begin_report, working_in
from trackkit.report import render

HERE = Path(__file__).resolve().parent
DELIVERY = "7471418"
SIZE = {"width": 1000, "height": 700}
SECTIONS = "overview:headline,overview:funnel,bounces:by_domain,browsers:usage"


def pages(store: str, folder: Path) -> dict[str, Path]:
    """Render one report as shipped, as a company has it, and a report made of sections of others."""
    made = {"guide_shipped": render("delivery_statistics", store, folder / "shipped", delivery=DELIVERY)}
    with working_in(HERE.parent / "examples" / "corporate"):
        made["guide_company"] = render("delivery_statistics", store, folder / "company", delivery=DELIVERY)
    begin_report(folder / "project", f"monthly={SECTIONS}")
    with working_in(folder / "project"):
        made["guide_monthly"] = render("monthly", store, folder / "monthly", delivery=DELIVERY)
    return made


def draw(store: str) -> None:
    """Write a picture of the first screen of each page beside the guide."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = chrome.new_page(viewport=SIZE)
        for name, path in pages(store, Path(folder)).items():
            page.goto(path.resolve().as_uri())
            page.screenshot(path=HERE / f"{name}.png")
        chrome.close()


if __name__ == "__main__":
    draw(sys.argv[1])
