"""Many reports: which pages are due, where they are rendered, and what lists them.

`due` (which ones, and the run), `executors` and `cluster` (here, or on dask workers), `manifest` (what was rendered
from what), `index` (the page of all pages), `retention` (what is forgotten, here and in the store).
"""
