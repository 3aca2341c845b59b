"""Explains differences between the counts of generator, gateway and service."""

from lab.runs.record import Run


def sent_in_all(run: Run) -> int:
    """All requests that the generator sent, including the preparation."""
    return run.prepared + run.sent + run.resent


def count_lines(run: Run) -> list[str]:
    """The three counts, and each difference with its cause if it is known."""
    inside, sent = run.inside, sent_in_all(run)
    others = sum(inside.other_runs.values())
    gateway, service = inside.gateway_requests, inside.requests
    lines = [
        f"sent {sent} ({run.prepared} to prepare, {run.sent} of the load, {run.resent} resent), "
        f"counted by the gateway {_count(gateway)}, by the service {_count(service)}"
    ]
    lines += [f"{count} of the counted requests were sent by run {name}" for name, count in inside.other_runs.items()]
    unknown = "another client, a probe, or another scraper of the gateway's exporter"
    if run.lost_workers or run.cut_short:
        unknown = f"requests of a load process that ended before it reported them, or {unknown}"
    if gateway is not None and gateway != sent + others:
        lines.append(_difference("gateway", gateway - sent - others, "was sent", unknown))
    if gateway is not None and service is not None and service != gateway:
        retries = f"the gateway tried {inside.retries or 0} a second time"
        rejected = "the gateway rejected some, or a killed replica lost its count"
        lines.append(
            _difference("service", service - gateway, "the gateway", retries if service > gateway else rejected)
        )
    if gateway is None and service is not None and service != sent + others:
        lines.append(_difference("service", service - sent - others, "was sent", "another client, or a lost count"))
    if len(lines) == 1 and gateway == service == sent:
        lines.append("the three counts agree")
    return lines


def _difference(who: str, more: int, than: str, why: str) -> str:
    return f"the {who} counted {abs(more)} {'more' if more > 0 else 'fewer'} than {than}: {why}"


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)
