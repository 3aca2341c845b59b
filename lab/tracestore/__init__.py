"""A trace and log store for one machine: OTLP in, SQLite, and parts of Tempo's and Loki's HTTP API."""
