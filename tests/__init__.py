"""Tests: unit, on real servers (integration), and on the whole stack."""
