"""The dashboards of `observability/grafana/dashboards` drawn in a browser, without Grafana."""
