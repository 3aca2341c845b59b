"""Formats an alert's values for people: in the rules' templates, on the command line and in the docs."""

from lab.alerts.catalog import Alert

PERCENT, SECONDS, RATE = "ratio", "seconds", "per_second"
_TEMPLATES = {
    PERCENT: "{{ $value | humanizePercentage }}",
    SECONDS: "{{ $value | humanizeDuration }}",
    RATE: "{{ $value | humanize }} per second",
}


def figure(value: float, unit: str) -> str:
    """A signal's value with its unit."""
    if unit == PERCENT:
        return f"{value * 100:.4g} %"
    if unit == SECONDS:
        return f"{value:.4g} s"
    if unit == RATE:
        return f"{value:.4g} per second"
    return f"{value:.4g}"


def description(alert: Alert) -> str:
    """The description of a rule: the catalog's text, followed by threshold and floor."""
    definition, tuning = alert.definition, alert.tuning
    text = definition.description.replace("{value}", _TEMPLATES.get(definition.unit, "{{ $value | humanize }}"))
    if tuning.threshold is None:
        return text
    text += f" The alert fires {definition.fires} {figure(tuning.threshold, definition.unit)}"
    if tuning.floor is not None:
        text += f" with at least {tuning.floor:g} bad events"
    return f"{text}."
