"""The service on real servers."""
