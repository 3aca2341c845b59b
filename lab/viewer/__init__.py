"""Shows the dashboards of `observability/grafana/dashboards` in a browser, without Grafana."""
