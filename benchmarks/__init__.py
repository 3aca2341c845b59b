"""Cost and performance of the service, measured as ratios; see docs/performance.md."""
