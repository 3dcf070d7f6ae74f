"""Metrics and canonical tables in, one tidy frame out: counts and the rates made of them.

In the order of the data: `snapshot` (what is read of a store), `deliveries` (which ones count, and their time zone),
`believed` (instants that can be), `refusals` (who refused web tracking), `frames` and `spark` (where passes over rows
run), `conditions` (what a `where` may hold), `rows` (the rows that count), `rollup` (what adds up), `distinct` (what
does not), `stated` and `retained` (counts that a source or retention left), `measure` (all of it, asked for by name),
`currencies` (what was not added).
"""
