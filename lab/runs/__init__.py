"""The record of a load test and its figures, which the load generator writes and the report reads."""
