"""The desk: the alert inbox, and counters of the gateway's troubles."""
