"""Tests, in the folder of what they test: `tests/lab/stack` tests `lab/stack`."""
