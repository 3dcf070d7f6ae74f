"""A frame in; a chart, a table, a text or a file out. Nothing here loads or measures.

In the order of the data: `theme` (colours and fonts), `wording` (numbers, instants and text of logs as they are read),
`cells` (what a cell of a table shows), `columns` (tables declared: a frame and its columns), `tables/` (those of one
delivery's figures, and a module for each subject), `charts/` (`canvas`: charts declared, and the four marks; `clock`:
time on axes; then the charts, by the same subjects), `exports` (files and text), `catalogue` (METRICS.md).

A new table declares its columns (`columns.TableColumn`), a new chart its plot (`charts.canvas.Plot`); both say on their
parameters which values they take (`cells.OneOf`, `Literal`).
"""
