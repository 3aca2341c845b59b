"""Alerts: definitions, generated rules, firing alerts, drills, and tuning of thresholds."""
