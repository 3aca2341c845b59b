"""Shows and compares the records of load tests."""
