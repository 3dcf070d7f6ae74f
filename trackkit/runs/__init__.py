"""Many reports: which pages are due, where they are rendered, and the index of them.

`due` (the run: which pages are due), `executors` and `cluster` (rendering here, or on dask workers), `manifest` (what
each page was made from), `index` (the page that lists all pages), `retention` (removing old data and its pages).
"""
