"""Backtests of alerts: what an alert would have done with other values, over history, recordings and known faults."""
