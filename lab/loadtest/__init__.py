"""The command `glasshouse load`: one load test, from preparation over the load itself to the report."""
