"""The todo service: a Litestar app with metrics, traces and logs."""

__version__ = "0.2.0.dev0"
