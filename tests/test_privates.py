"""What is used of other libraries without their promise: that it is there, and does what we need of it.

pyproject.toml marks these libraries [private] and holds them below the next version, which these tests try.
"""

import inspect
import json
import re
import tomllib
from pathlib import Path

import nbformat
import polars as pl
import pytest
from great_tables import GT
from great_tables._gt_data import Body
from ipykernel.compiler import XCachingCompiler
from ipykernel.zmqshell import ZMQInteractiveShell
from jupyter_client.session import Session, json_packer
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert.exporters import TemplateExporter
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager
from polars.expr.struct import ExprStructNameSpace

PRIVATE = ("great-tables", "ipykernel", "jupyter-client", "nbclient", "nbconvert", "papermill", "polars")


def test_each_library_is_held_below_the_next_version():
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text("utf-8")
    marked = re.findall(r'"([\w-]+)[^"]*",\s*#[^\n]*\[private\]', text)
    assert sorted(marked) == sorted(PRIVATE)
    ranges = {re.match(r"[\w-]+", one)[0]: one for one in tomllib.loads(text)["project"]["dependencies"]}
    assert all("<" in ranges[name] for name in PRIVATE)


def test_great_tables_takes_cells_that_are_html_already():
    class Ready(GT):
        def _render_formats(self, context):
            return self._replace(_body=Body(self._tbl_data.clone()))

    table = Ready(pl.DataFrame({"a": ["<b>1</b>"]}))
    assert "<b>1</b>" in table.as_raw_html() and "&lt;b&gt;" in GT(pl.DataFrame({"a": ["<b>1</b>"]})).as_raw_html()
    assert table._formats == [] and table._substitutions == [] and callable(Body.render_formats)


def test_papermill_runs_cell_after_cell_and_keeps_the_first_error():
    cells = [nbformat.v4.new_code_cell(text, metadata={"papermill": {}}) for text in ("one", "two", "three")]
    ran = []

    class Client(PapermillNotebookClient):
        def execute_cell(self, cell, cell_index, *_, **__):
            ran.append(cell.source)
            if cell.source == "two":
                raise CellExecutionError("traceback", "Name", "value")
            return cell

    manager = NotebookExecutionManager(
        nbformat.v4.new_notebook(cells=cells, metadata={"papermill": {}}), progress_bar=False
    )
    manager.notebook_start()
    client = Client(manager, timeout=1, record_timing=False)
    client.reset_execution_trackers()
    client.papermill_execute_cells()
    assert ran == ["one", "two"]
    assert [cell.metadata["papermill"].get("exception") for cell in manager.nb.cells] == [False, True, None]


def test_nbclient_keeps_a_message_without_a_kernel():
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    client = NotebookClient(book)
    client.reset_execution_trackers()
    client.clear_before_next_output = False
    said = {"parent_header": {}, "header": {"msg_type": "stream"}, "msg_type": "stream"}
    client.process_message({**said, "content": {"name": "stdout", "text": "said"}}, book.cells[0], 0)
    assert book.cells[0].outputs[0]["text"] == "said"


def test_the_shell_of_kernels_says_all_through_its_session():
    assert {"session"} <= set(ZMQInteractiveShell.displayhook_class.default_value.class_traits())
    assert callable(ZMQInteractiveShell.init_environment) and "session" in inspect.getsource(ZMQInteractiveShell)
    assert "compiler_class" in ZMQInteractiveShell.class_traits() and XCachingCompiler
    assert list(inspect.signature(Session.send).parameters)[1:4] == ["stream", "msg_or_type", "content"]
    assert json.loads(json_packer({"content": 1})) == {"content": 1}


def test_nbconvert_escapes_where_we_turn_it_on_before_the_first_template():
    made = TemplateExporter(file_extension=".html").environment
    made.autoescape = True
    assert made.from_string("{{ '<' }}").render() == "&lt;"


def test_polars_skips_files_by_the_bounds_handed_over(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "one.parquet")
    bounds = pl.DataFrame({"len": [1], "a_nc": [0], "a_min": [1], "a_max": [1]}, schema_overrides={"len": pl.UInt32})
    scanned = pl.scan_parquet([tmp_path / "one.parquet"], schema={"a": pl.Int64}, _table_statistics=bounds)
    (tmp_path / "one.parquet").unlink()
    assert scanned.filter(pl.col("a") > 1).collect().height == 0, "a file that cannot match is not opened"
    with pytest.raises(FileNotFoundError):
        scanned.filter(pl.col("a") == 1).collect()
    assert inspect.signature(pl.scan_parquet).parameters["_table_statistics"].default is None
    assert callable(ExprStructNameSpace.field)
