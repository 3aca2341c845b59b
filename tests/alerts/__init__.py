"""Tests of alert rules: promtool cases for each alert, and mutations of rules that the cases must detect."""
