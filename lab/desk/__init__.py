"""`desk`: alert inbox, runbook pages, and metrics of the gateway's requests (see docs/glossary.md)."""
