"""Drills: cause an alert's fault on the running stack, watch what fires, and end the fault."""
