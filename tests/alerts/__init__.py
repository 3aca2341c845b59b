"""Alert rules put to the test: each alert's cases by promtool, and what happens to them when a rule is broken."""
