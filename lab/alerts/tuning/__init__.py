"""Backtests of alerts: what an alert with another number would have done, over history, recordings and known faults."""
