"""`report.html`: a single file that needs no server and loads nothing."""

from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from pathlib import Path

from lab.report.counts import count_lines, sent_in_all
from lab.report.dashboards import dashboards
from lab.report.plot import line_plot
from lab.report.summary import LIMITS, abuse_fact, breakpoint_fact
from lab.runs.record import Figures, Run, utc
from lab.runs.second import Second

STYLE = partial((Path(__file__).parent / "page.css").read_text, encoding="utf-8")


def write_page(run: Run, folder: Path, prometheus_url: str | None) -> None:
    """Writes `report.html`; without dashboards if Prometheus does not respond. Raises `OSError`."""
    (folder / "report.html").write_text(page(run, prometheus_url), encoding="utf-8")


def page(run: Run, prometheus_url: str | None) -> str:
    """The whole page."""
    title = f"{run.profile}, {_time(run.began)}"
    sections = [
        _verdict(run),
        _section("Requests, as the client saw them", _requests(run), _failures(run)),
        _section("Over time, as the client saw it", '<div class="row">' + "".join(_plots(run.seconds)) + "</div>"),
        _section("Inside the stack", _inside(run), _missing(run)),
        _section("Alerts and thresholds crossed", _alerts(run)),
        _section("Slowest traces", _traces(run)),
        _section("Dashboards over the run", _dashboards(run, prometheus_url)),
        _section("How to repeat it", _repeat(run)),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE()}</style></head>'
        f"<body><h1>{escape(run.profile)} <small>{escape(run.id)}</small></h1>{''.join(sections)}</body></html>\n"
    )


def _section(heading: str, *parts: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{''.join(parts)}</section>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. The first column is text, the others are numbers."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _verdict(run: Run) -> str:
    parts = []
    if run.cut_short:
        parts.append(f'<p class="cut">cut short: {escape(run.cut_short)}</p>')
    parts += [f'<p class="cut">{escape(lost)}</p>' for lost in run.lost_workers]
    if run.is_search:
        parts.append(f'<p class="{_met(run.met)}">{escape(breakpoint_fact(run))}</p>')
    else:
        parts.append(f'<p class="{_met(run.met)}">{"All met" if run.met else "Missed"}</p>')
    if run.profile == "abuse":
        parts.append(f"<p>{escape(abuse_fact(run))}</p>")
    if run.limit:
        parts.append(f'<p class="cut">{escape(LIMITS.get(run.limit, run.limit))}</p>')
    rows = [(each.name, each.was, each.objective, _met(each.met)) for each in run.checks]
    return _section("Verdict", *parts, table(["over all offered requests", "was", "objective", ""], rows))


def _requests(run: Run) -> str:
    rows = [(name, *_cells(figures)) for name, figures in run.routes.items()]
    rows += [("all reads", *_cells(run.reads)), ("all writes", *_cells(run.writes)), ("all", *_cells(run.total))]
    note = (
        "<p>Latency counts from when a request was due, not from when it was sent: a stall is fully visible. Failed "
        "and dropped requests count with their age at that moment. Percentiles are at most 1 % too high.</p>"
    )
    heads = ["route", "offered", "answered", "failed", "dropped", "mean", "p50", "p95", "p99", "longest"]
    return table(heads, rows) + note


def _failures(run: Run) -> str:
    statuses = table(["status", "answers"], [(name, str(count)) for name, count in sorted(run.statuses.items())])
    if not run.failures:
        return statuses
    ordered = sorted(run.failures.items(), key=lambda each: -each[1].count)
    rows = [(name, str(failure.count), failure.example) for name, failure in ordered]
    return statuses + table(["what failed", "times", "such as"], rows)


def _plots(seconds: Sequence[Second]) -> list[str]:
    rates = {
        "scheduled": [(each.elapsed, each.target_rate) for each in seconds],
        "offered": [(each.elapsed, each.offered / each.span) for each in seconds if each.span > 0.5],
        "answered": [(each.elapsed, each.answered / each.span) for each in seconds if each.span > 0.5],
    }
    latencies = {
        f"{kind} p{round(q * 100)}": [
            (each.elapsed, histogram.quantile(q) * 1000)
            for each in seconds
            if (histogram := each.reads if kind == "reads" else each.writes).count
        ]
        for kind in ("reads", "writes")
        for q in (0.5, 0.99)
    }
    waiting = {
        "outstanding": [(each.elapsed, float(each.outstanding)) for each in seconds],
        "failed": [(each.elapsed, float(each.failed)) for each in seconds],
        "dropped": [(each.elapsed, float(each.dropped)) for each in seconds],
    }
    return [
        line_plot("Rates", "requests a second", rates),
        line_plot("Latency", "ms, in each second", latencies),
        line_plot("Outstanding, failed and dropped", "requests", waiting),
    ]


def _inside(run: Run) -> str:
    inside = run.inside
    rows = [
        ("requests sent by the generator, preparation included", str(sent_in_all(run))),
        ("requests counted by the gateway", _or_dash(inside.gateway_requests)),
        ("requests counted by the service", _or_dash(inside.requests)),
        ("rejected by the rate limit", _or_dash(inside.rejected)),
        ("cache hit ratio, by Prometheus over the run", _percent(inside.hit_ratio)),
        ("p50, p95, p99 inside", ", ".join(_ms(each) for each in (inside.p50, inside.p95, inside.p99))),
        ("p50, p95, p99 outside", ", ".join(_ms(each) for each in (run.total.p50, run.total.p95, run.total.p99))),
    ]
    rows += [(f"share of {name}", _percent(share)) for name, share in inside.shares.items()]
    notes = "".join(f"<p>{escape(line)}</p>" for line in count_lines(run)[1:])
    return table(["", "figure"], rows) + notes


def _missing(run: Run) -> str:
    items = "".join(f"<li>{escape(each)}</li>" for each in run.inside.missing)
    return f'<p class="cut">Missing:</p><ul>{items}</ul>' if items else ""


def _alerts(run: Run) -> str:
    rows = [
        (
            alert.name,
            alert.severity,
            alert.state,
            f"{alert.began - run.began:.0f} s",
            f"{alert.ended - run.began:.0f} s",
            "-" if alert.threshold is None else f"{alert.threshold:g}",
        )
        for alert in run.inside.alerts
    ]
    if not rows:
        return "<p>No alert crossed its threshold during the run.</p>"
    note = "<p>Pending: beyond its threshold. Firing: beyond it for at least the alert's `for`.</p>"
    return table(["alert", "severity", "state", "from", "to", "threshold"], rows) + note


def _traces(run: Run) -> str:
    rows = [(each.trace_id, _ms(each.seconds), each.method, each.route, each.status) for each in run.inside.slowest]
    if not rows:
        return "<p>Prometheus has no exemplars of this run, so no traces of its requests are known.</p>"
    return table(["trace id", "duration, server-side", "method", "route", "status"], rows)


def _dashboards(run: Run, prometheus_url: str | None) -> str:
    if prometheus_url is None:
        return f"<p>Not drawn yet: <code>glasshouse report {escape(run.id)} --draw</code> does it.</p>"
    return dashboards(prometheus_url, run.began, run.ended)


def _repeat(run: Run) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in run.versions.items())
    machine = run.machine
    rows = [
        ("began", _time(run.began)),
        ("seed", str(run.settings.seed)),
        ("versions", versions),
        ("machine", f"{machine.system}, {machine.processor}, {machine.cores} cores, {machine.memory_bytes >> 30} GiB"),
    ]
    return f"<pre>{escape(run.settings.command)}</pre>" + table(["", ""], rows)


def _cells(figures: Figures) -> list[str]:
    times = (figures.mean, figures.p50, figures.p95, figures.p99, figures.longest)
    counts = (figures.offered, figures.answered, figures.failed, figures.dropped)
    # requests of a lost worker have no measured latency
    return [*map(str, counts), *(_ms(each if figures.longest else None) for each in times)]


def _met(good: bool) -> str:
    return "met" if good else "missed"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}\N{NO-BREAK SPACE}ms"


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"


def _or_dash(count: int | None) -> str:
    return "-" if count is None else str(count)


def _time(at: float) -> str:
    return f"{utc(at)} UTC"
