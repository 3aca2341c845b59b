"""The load generator: open-loop load with Locust. Latency is measured from when each request was due."""
