"""What the service costs and how fast it is, measured as ratios; docs/performance.md tells how."""
