"""The desk: the alert inbox, and the metrics of what has no server of its own."""
