"""Units of the service and the lab, in this process."""
