"""Installed from its wheel alone, in an empty folder, trackkit does its whole job."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("--deliveries", "1", "--recipients", "120")
REPORTS = ("tracking_indicators", "tracking_statistics", "urls_and_click_streams", "hot_clicks", "delivery_tracking",
           "recipient_tracking")  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as an installer would, offline."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment that holds the wheel, and sees the libraries installed here."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    libraries = next(path for path in sys.path if Path(path, "polars").is_dir())
    site = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    site.joinpath("libraries.pth").write_text(libraries + "\n")  # as lines, so that their own .pth files stay unread
    return folder / "bin"


def _run(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL", "PYTEST"))}
    shared = {"JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter")}  # nbconvert's own templates
    said = subprocess.run(
        [str(installed / "trackkit"), *command],
        cwd=folder,
        env=plain | shared,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, f"trackkit {' '.join(command)}\n{said.stdout}\n{said.stderr}"
    return said


def test_the_wheel_carries_notebooks_and_templates_and_nothing_else_of_the_checkout(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for top in ("notebooks", "reports_templates", "retention.toml"):
        tracked = subprocess.run(["git", "ls-files", top], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert {f"trackkit/_bundled/{name}" for name in tracked.splitlines()} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"trackkit"}
    assert not [name for name in names if "__pycache__" in name or ".ipynb_checkpoints" in name]


def test_the_wheel_alone_does_the_whole_job_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    from_wheel = [str(installed / "python"), "-c", "import trackkit; print(trackkit.__file__)"]
    place = subprocess.run(from_wheel, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert str(installed.parent) in place
    _run(installed, tmp_path, "demo", "raw", *SMALL)
    _run(installed, tmp_path, "ingest", "raw", "--store", "store")
    _run(installed, tmp_path, "run", "--store", "store", "--out", "reports")
    pages = [path.name for path in (tmp_path / "reports").rglob("*.html")]
    assert "index.html" in pages
    assert all(any(name.replace("_", "-") in page.replace("_", "-") for page in pages) for name in REPORTS), pages

    # what `init` copies out, once changed, is what the next run uses; repeated, it keeps the change and says so
    copied = _run(installed, tmp_path, "init", ".").stdout.splitlines()
    assert "reports_templates/tracking_indicators.toml" in [Path(line).as_posix() for line in copied]
    template = tmp_path / "reports_templates" / "tracking_indicators.toml"
    changed, count = re.subn(r'(?m)^title = ".*"$', 'title = "Our own words"', template.read_text("utf-8"), count=1)
    assert count == 1
    template.write_text(changed, "utf-8")
    again = _run(installed, tmp_path, "init", ".")
    assert again.stdout == ""
    assert "Kept" in again.stderr
    assert "tracking_indicators.toml" in again.stderr
    _run(installed, tmp_path, "run", "--store", "store", "--out", "mine", "--reports", "tracking_indicators")
    page = next((tmp_path / "mine").rglob("*indicators*.html")).read_text("utf-8")
    assert "Our own words" in page
