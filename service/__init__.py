"""The todo service: a Litestar app that is watched from every side."""

__version__ = "0.2.0.dev0"
