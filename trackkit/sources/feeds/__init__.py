"""Formats of other senders: TOML maps (`formats`) over engines for JSON records, tables and access logs."""
