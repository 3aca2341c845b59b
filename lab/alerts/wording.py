"""How an alert's figures are written for its reader: in the rules' templates, the command line and the docs."""

from lab.alerts.catalog import Alert

PERCENT, SECONDS, RATE = "ratio", "seconds", "per_second"
_TEMPLATES = {
    PERCENT: "{{ $value | humanizePercentage }}",
    SECONDS: "{{ $value | humanizeDuration }}",
    RATE: "{{ $value | humanize }} a second",
}


def figure(value: float, unit: str) -> str:
    """A value in the unit of a signal, as people read it."""
    if unit == PERCENT:
        return f"{value * 100:.4g} %"
    if unit == SECONDS:
        return f"{value:.4g} s"
    if unit == RATE:
        return f"{value:.4g} a second"
    return f"{value:.4g}"


def description(alert: Alert) -> str:
    """The description of a rule: the catalog's words, and what the value is held against."""
    definition, tuning = alert.definition, alert.tuning
    text = definition.description.replace("{value}", _TEMPLATES.get(definition.unit, "{{ $value | humanize }}"))
    if tuning.threshold is None:
        return text
    text += f" It is bad {definition.fires} {figure(tuning.threshold, definition.unit)}"
    if tuning.floor is not None:
        text += f", if it rests on {tuning.floor:g} bad events or more"
    return f"{text}."
