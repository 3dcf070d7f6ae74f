"""Metrics and canonical tables in, one tidy frame out: counts and the rates made of them.

In the order of the data: `snapshot` (what is read of a store), `deliveries` (which ones count, and their time zone),
`plausible` (instants that can be right), `refusals` (who refused web tracking), `backends` and `spark` (where passes
over rows run), `conditions` (what a `where` may hold), `selection` (the rows that a question is about), `counting`
(what adds up, and what is distinct), `completeness` (counts that rows do not tell), `measure` (all of it, by name).
"""
