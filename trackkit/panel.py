"""`explore`: a panel in JupyterLab that asks `measure`, shows what it answers, and hands over the Python that asks it.

Its controls are those of ipywidgets, its table is that of `tables.interactive`: no JavaScript is ours, none is fetched.
Each change of a control asks anew.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl
import polars.selectors as cs
from markupsafe import Markup

from trackkit.analysis.console import deliveries
from trackkit.engine.measure import measure
from trackkit.engine.scope import GROUPS, NAMED, PLATFORM, Part, resolve
from trackkit.engine.selection import ALL, HUMAN
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, TrackkitError, require_word
from trackkit.failures import refused_by_system
from trackkit.metrics import BREAKDOWNS, METRICS, breakdowns_of
from trackkit.show import charts
from trackkit.show.tables.interactive import interactive, presented
from trackkit.show.theme import theme
from trackkit.show.wording import clipped

__all__ = ["Panel", "explore"]

FIRST = ("open_rate", "click_rate")
MOST_BARS, MOST_ROWS, MOST_COLUMNS = 20, 40, 120  # of a chart; the last two of tiles
MOST_OFFERED = 300  # deliveries, and values to test
BETWEEN = " · "  # a name and its label
HITS = {"of everybody": ALL, "of people only": HUMAN}
EXAMPLE = "domain = 'post.example' AND launch_day >= '2026-10-01'"
NO_METRIC = "Add a metric: type a word of its name or label, and take one of those that appear."
NOTHING, ALL_0 = "No rows meet this.", "Nothing to draw: each is 0 or unknown."
UNDRAWN = "No chart of so many groups can be read: the table has all."
CUT = f"The chart has the {MOST_BARS} largest of {{:,}} groups, the table all."
REFUSED = Markup('<div role="alert" style="color:#a2561a;font-weight:600;line-height:1.4">{}</div>')
CODE = Markup('<pre title="{}" style="{}">{}</pre>')
COPY = "A click selects it all: copy it into a cell."
CODE_STYLE = "user-select:all;white-space:pre-wrap;line-height:1.4;margin:0;padding:.5em;border:1px solid #8886"


def explore(store: Measurable) -> "Panel":
    """Return a panel for JupyterLab that asks a store: metrics, breakdowns, conditions, deliveries, whose hits.

    In: a store, or its snapshot. The panel shows a chart, a table, and the Python that gives both; from Python, its
    `frame` is what was measured, its `code` that Python, and its controls have a `value` to be set. Raises RequestError
    where there is no store, and without the extra `lab`.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> sent = {"delivery_id": ["7"], "domain": ["a.example"], "status": ["delivered"], "is_seed": [False]}
    >>> panel = explore(Snapshot({"message": pl.LazyFrame(sent)}))
    >>> panel.code.splitlines()[0]
    "frame = tk.measure(store, ['open_rate', 'click_rate'], by='domain')"
    """
    try:
        import ipywidgets as widgets
    except ModuleNotFoundError as error:
        raise RequestError("ipywidgets is not installed here; `pip install 'trackkit[lab]'` brings it.") from error
    return Panel(store, widgets)


class Panel:
    """What `explore` returns; `widgets` is the module ipywidgets."""

    def __init__(self, store: Measurable, widgets: Any) -> None:
        self._store, self._name, self._scopes = store, _name_of(store), dict(_scopes(store))
        self.frame, self.code = pl.DataFrame(), ""
        self._words, self._chart, self._python = widgets.HTML(), widgets.Output(), widgets.HTML()
        self._table = interactive(pl.DataFrame({"": [""]}))
        asked = self._controls(widgets)
        self._box = widgets.VBox([*asked, self._words, self._python, self._chart, self._table])
        self._ask()
        for control in (self.metrics, self.by, self.where, self.scope, self.since, self.until, self.activity):
            control.observe(self._ask, "value")

    def _controls(self, widgets: Any) -> list[Any]:
        """Make a control for each thing that can be asked, and return their rows."""
        plain: dict[str, Any] = {"style": {"description_width": "5.5em"}, "layout": {"flex": "1 1 20em"}}
        typed = plain | {"continuous_update": False}
        tags: dict[str, Any] = {"allow_duplicates": False, "layout": {"flex": "1 1 20em"}}
        self.metrics = widgets.TagsInput(value=[_tag(name) for name in FIRST], **tags)
        self.by = widgets.TagsInput(value=["domain"], **tags)
        self.add_metric = widgets.Combobox(description="Metrics", placeholder="add: a word of its name", **typed)
        self.add_by = widgets.Combobox(description="By", placeholder="add", **typed)
        self.where = widgets.Combobox(description="Only if", placeholder=EXAMPLE, **typed)
        self.scope = widgets.Combobox(description="Deliveries", placeholder=PLATFORM, options=[*self._scopes], **typed)
        self.activity = widgets.Dropdown(description="Hits", options=HITS, **plain)
        self.since = widgets.DatePicker(description="Launched", **plain)
        self.until = widgets.DatePicker(description="until", **plain)
        self.add_metric.options = [_tag(name) for name in METRICS]
        self.add_metric.observe(lambda change: self._add("metric", self.add_metric, self.metrics, METRICS), "value")
        self.add_by.observe(lambda change: self._add("breakdown", self.add_by, self.by, BREAKDOWNS), "value")
        pairs = [[self.add_metric, self.metrics], [self.add_by, self.by], [self.where]]
        pairs += [[self.scope, self.activity], [self.since, self.until]]
        return [widgets.HBox(pair, layout={"flex_flow": "row wrap"}) for pair in pairs]

    def _add(self, what: str, field: Any, chosen: Any, known: Collection[str]) -> None:
        """Choose what was typed, or taken from what is offered; where there is no such name, say so."""
        name = field.value.split(BETWEEN)[0].strip()
        if not name:
            return
        try:
            require_word(what, name, known)
        except RequestError as error:
            self._words.value = REFUSED.format(error)
        else:
            tag = _tag(name) if what == "metric" else name
            chosen.value, field.value = [*(each for each in chosen.value if each != tag), tag], ""

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self._box._repr_mimebundle_(**options) | {"text/plain": self.code}

    def _ask(self, _: object = None) -> None:
        """Ask what the controls say and show the answer, or the sentence that says why there is none."""
        self.frame, self.code, chart, cells = pl.DataFrame(), "", None, None
        self._words.value = "Measuring …"
        metrics = list(dict.fromkeys(tag.split(BETWEEN)[0] for tag in self.metrics.value))
        by = list(self.by.value)
        try:
            self.frame, line = self._measured(metrics, by)
            self.code = f"{line}\nframe"
            cells = presented(self.frame)
            words, call, chart = _drawn(self.frame, by, metrics)
            self.code = f"{line}\n{call or 'frame'}"
        except TrackkitError as error:
            words = REFUSED.format(error)
        except Exception as error:  # Jupyter shows no traceback of what a control calls
            words = REFUSED.format(refused_by_system(error) or RequestError(f"{type(error).__name__}: {error}"))
        self._offer(metrics, by)
        self._show(words, chart, cells)

    def _measured(self, metrics: list[str], by: list[str]) -> tuple[pl.DataFrame, str]:
        """The frame asked for, and the line that asks for it; what is as by default is not in the line."""
        if not metrics:
            raise RequestError(NO_METRIC)
        asked: dict[str, Any] = {"by": by[0] if len(by) == 1 else by, "where": self.where.value.strip()}
        asked |= {"activity": self.activity.value}
        line = {name: repr(value) for name, value in asked.items() if name == "by" or value not in ("", ALL)}
        if text := self._scope_asked():
            scope = resolve(self._store, text)
            asked["delivery"] = scope.chosen
            is_one = isinstance(scope.chosen, str)
            line["delivery"] = repr(scope.chosen) if is_one else f"tk.scope({self._name}, {scope.text!r}).chosen"
        options = ", ".join(f"{name}={value}" for name, value in line.items())
        return measure(self._store, metrics, **asked), f"frame = tk.measure({self._name}, {metrics!r}, {options})"

    def _scope_asked(self) -> str:
        """The scope of the deliveries chosen that were launched in the period, empty for all."""
        since, until = self.since.value or "", self.until.value or ""
        period = f"period:{since}..{until}" if since or until else ""
        written = self.scope.value.strip()
        return f"{self._scopes.get(written, written)} {period}".strip()

    def _offer(self, metrics: Sequence[str], by: Sequence[str]) -> None:
        """Offer the breakdowns that all the metrics have, and the values found as conditions."""
        known = [set(breakdowns_of(name)) for name in metrics if name in METRICS]
        self.add_by.options = [name for name in BREAKDOWNS if all(name in some for some in known)]
        self.where.options = list(_conditions(self.frame, self.where.value.strip(), by))

    def _show(self, words: str, chart: Any, cells: Any) -> None:
        drawn = [] if chart is None else [chart._repr_mimebundle_()]
        self._chart.outputs = tuple({"output_type": "display_data", "metadata": {}, "data": data} for data in drawn)
        self._words.value = words
        self._python.value = CODE.format(COPY, CODE_STYLE, self.code) if self.code else ""
        self._table.layout.display = "" if cells else "none"
        if cells:
            self._table.update(cells[0], **cells[1])


def _tag(name: str) -> str:
    return f"{name}{BETWEEN}{METRICS[name].label}"


def _name_of(store: Any) -> str:
    """How a cell calls the store: by the user's name for it, else by opening it."""
    users = vars(sys.modules["__main__"])
    name = next((name for name, value in users.items() if value is store and not name.startswith("_")), "")
    return name or (f"tk.open_store({store.location!r})" if hasattr(store, "location") else "store")


def _scopes(store: Measurable) -> Iterator[tuple[str, str]]:
    """Yield each campaign, programme, folder and delivery as it is offered, and the scope that this stands for."""
    listed = {kind: store.scan(kind).select(f"{kind}_id", "label").unique().sort(f"{kind}_id") for kind in GROUPS}
    listed[NAMED] = deliveries(store).lazy().select("delivery_id", "label")
    for kind, rows in listed.items():
        for key, label in rows.drop_nulls(cs.first()).head(MOST_OFFERED).collect().rows():
            text = Part(kind, (key,)).text
            yield f"{text}{BETWEEN}{clipped(label, 60)}" if label else text, text


def _conditions(frame: pl.DataFrame, written: str, by: Sequence[str]) -> Iterator[str]:
    """Yield the condition that is written, joined to a test for each value of the breakdowns."""
    before = f"({written}) AND " if " OR " in written.upper() else f"{written} AND " if written else ""
    for name in by if frame.width else ():
        for value in frame[name].unique(maintain_order=True).head(MOST_OFFERED):
            yield f"{before}{name} {_test(value)}"


def _test(value: Any) -> str:
    """The test of SQL for a value.

    >>> _test(None), _test(7), _test("rock'n'roll")
    ('IS NULL', '= 7', "= 'rock''n''roll'")
    """
    if value is None or isinstance(value, int):
        return "IS NULL" if value is None else f"= {value}"
    quoted = str(value).replace("'", "''")
    return f"= '{quoted}'"


def _drawn(frame: pl.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> tuple[str, str, Any]:
    """What has to be said of the chart of a frame, the Python that draws it, and the chart; None if there is none."""
    if frame.is_empty() or not by:
        return "" if frame.height else NOTHING, "", None
    name, options = _chart_of(frame, by, metrics)
    if not name:
        return UNDRAWN, "", None
    if not (frame[metrics[0]] != 0).any():
        return ALL_0, "", None
    rows, written = frame, "frame"
    if name in ("bars", "rate_bars"):
        size = METRICS[metrics[0]].denominator if name == "rate_bars" else metrics[0]
        rows = frame.sort(size, descending=True, nulls_last=True).head(MOST_BARS)
        written = f"frame.sort({size!r}, descending=True, nulls_last=True).head({MOST_BARS})"
    call = f"tk.charts.{name}({', '.join([written, *map(repr, options)])})"
    words = CUT.format(frame.height) if rows.height < frame.height else ""
    return words, call, getattr(charts, name)(rows, *options)


def _chart_of(frame: pl.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> tuple[str, list[Any]]:
    """The name of the chart for these breakdowns among `tk.charts`, and its arguments after the frame; none if empty.

    It shows the first metric; beside a rate, by one breakdown, the other rates.
    """
    metric = metrics[0]
    along = [name for name in by if frame.schema[name].is_temporal() or frame.schema[name].is_numeric()]
    if len(by) == 1 and along:
        return "lines", [by[0], metric]
    if len(by) == 1:
        rates = [name for name in metrics if METRICS[name].is_rate and METRICS[name].denominator]
        return ("rate_bars", [by[0], rates]) if metric in rates else ("bars", [by[0], metric])
    if len(by) != 2:
        return "", []
    x = (along or by)[-1]
    y = next(name for name in by if name != x)
    if len(along) == 1 and frame[y].n_unique() <= len(theme().light.series):
        return "lines", [x, metric, y]
    is_small = frame[x].n_unique() <= MOST_COLUMNS and frame[y].n_unique() <= MOST_ROWS
    return ("heatmap", [x, y, metric]) if is_small else ("", [])
