"""Formats of other senders: TOML maps (`formats`) over engines for JSON records, tables and access logs.

- `feed`: the grammar of a map, and where maps are found; `recognise`: which map a file is of
- `json_paths`: how a map names the values of a record
- `framing`: JSON text to records; `arrow_json`: runs of records of one shape, read at once
- `records`, `tabular`, `access_logs` (with `request_lines`): the engines, each making text cells of a file
- `mapping`: text cells to canonical events; `reading`: one file read, staged and accounted for
"""
