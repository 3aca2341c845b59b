"""How the service is seen: metrics, traces, logs, and the one middleware that feeds them."""
