"""A frame in; a chart, a table, text or a file out. Nothing here loads or measures.

In the order of the data: `theme` (colours and fonts), `wording` (formats of numbers, instants and log text), `cells`
(cells of tables), `columns` (declared tables: a frame and its columns), `findings/` (the sentence that heads a card, by
subject), `tables/` (tables of a delivery's figures, then a module for each subject), `charts/` (`canvas`: declared
charts and the four marks; `clock`: time axes; then charts by the same subjects), `exports` (files and text),
`catalogue` (METRICS.md).

A new table declares its columns (`columns.TableColumn`), a new chart its plot (`charts.canvas.Plot`); the annotations
of their parameters declare the valid values (`cells.OneOf`, `Literal`).
"""
