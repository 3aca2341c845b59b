"""Telemetry of the service: metrics, traces, logs, and the middleware that records them."""
