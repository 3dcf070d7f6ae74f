"""Metrics and canonical tables in, one tidy frame out: counts and the rates made of them.

In the order of the data: `snapshot` (the tables read), `deliveries` (which ones count, and their time zone),
`plausible` (plausible instants), `refusals` (who refused web tracking), `backends` and `spark` (where passes over rows
run), `conditions` (SQL of a `where`), `selection` (the rows that a question is about), `counting` (sums and distinct
counts), `completeness` (counts that rows cannot give), `measure` (metrics by name).
"""
