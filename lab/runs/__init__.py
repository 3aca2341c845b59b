"""What a load test leaves: the record of a run and the figures in it. Both the load generator and the report use it."""
