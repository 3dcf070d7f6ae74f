"""Groups whose rates are unlike those of the others."""

from collections.abc import Sequence
from typing import Annotated

import polars as pl
from great_tables import GT

from trackkit.metrics import METRICS
from trackkit.show.cells import RATES, Labels, OneOf
from trackkit.show.columns import TableColumn, column_table
from trackkit.show.wording import percent

__all__ = ["anomaly_table"]

ANOMALIES = {
    "name": TableColumn("Domain", "text"),
    "metric": TableColumn("Indicator", "word", words={name: METRICS[name].label for name in RATES}),
    "rate": TableColumn("Rate", "share", ("part", "whole")),
    "part": TableColumn("Numerator"),
    "whole": TableColumn("Denominator"),
    "usual": TableColumn("Usual", "share"),
    "z": TableColumn("Standard deviations from it", "average"),
}


def anomaly_table(
    anomalies: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(ANOMALIES)],
    labels: Annotated[Labels | None, OneOf(ANOMALIES)] = None,
    lang: str = "en",
) -> GT | None:
    """List the groups unlike the others, the least likely first; None if there is none.

    In: the frame of `intervals.anomalies`. Raises RequestError for an unknown column.

    >>> cells = pl.DataFrame({"domain": [*"abcdef"], "unique_opens": [30, 31, 29, 33, 28, 90], "delivered": 300})
    >>> cells = cells.with_columns(open_rate=pl.col("unique_opens") / pl.col("delivered"))
    >>> anomalies = tk.intervals.anomalies(cells, "domain", ["open_rate"])
    >>> table = anomaly_table(anomalies, ["name", "metric", "rate", "usual"])
    >>> [each["label"] for each in table.data["columns"]]
    ['Domain', 'Indicator', 'Rate', 'Numerator', 'Denominator', 'Usual']
    """
    unusual = anomalies.filter("is_unusual")
    own = {"usual": lambda row: percent(row["usual"], lang=lang, of=row["whole"])}
    return None if unusual.is_empty() else column_table(unusual, ANOMALIES, columns, labels, lang, own)
