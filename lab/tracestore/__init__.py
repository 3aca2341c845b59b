"""Traces and logs on one machine: OTLP in, SQLite, and as much of Tempo's and Loki's HTTP API as this stack asks."""
