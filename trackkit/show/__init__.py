"""A frame in; a chart, a table, a text or a file out. Nothing here loads or measures.

`theme` (colours and fonts), `wording` (numbers, instants and rates as text), `cells` (what a cell of a table shows),
`tables/` and `charts/` (the general ones, and a module for each subject), `catalogue` (METRICS.md), `exports` (files).
"""
