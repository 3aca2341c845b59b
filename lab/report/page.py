"""`report.html`: one file that opens anywhere, with nothing to fetch."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from lab.load.latencies import quantile
from lab.load.measured import Second
from lab.load.service_levels import AVAILABILITY, FAST_READS, FAST_SECONDS
from lab.load.summary import LIMITS, abuse_fact, breakpoint_fact
from lab.report.dashboards import dashboards
from lab.report.plot import line_plot
from lab.report.record import Figures, Run

STYLE = (Path(__file__).parent / "page.css").read_text


def write_page(run: Run, folder: Path, prometheus_url: str | None) -> None:
    """Writes `report.html`, without dashboards where there is no Prometheus to ask. Raises `OSError`."""
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
    """A table; the first column is text, the others figures."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _verdict(run: Run) -> str:
    levels = run.service_levels
    parts = []
    if run.cut_short:
        parts.append(f'<p class="cut">cut short: {escape(run.cut_short)}</p>')
    if run.profile == "breakpoint":
        parts.append(f'<p class="{_class(run.met)}">{escape(breakpoint_fact(run))}</p>')
    else:
        word = "met" if run.met else "missed"
        parts.append(f'<p class="{_class(run.met)}">Service levels {word}</p>')
    if run.profile == "abuse":
        parts.append(f"<p>{escape(abuse_fact(run))}</p>")
    if run.limit:
        parts.append(f'<p class="cut">{escape(LIMITS[run.limit])}</p>')
    rows = [
        (
            "answered without error",
            f"{levels.availability:.3%}",
            f"at least {AVAILABILITY:.1%}",
            _met(levels.availability >= AVAILABILITY),
        ),
        (
            f"reads within {FAST_SECONDS * 1000:.0f} ms of when they were due",
            f"{levels.fast_reads:.2%}",
            f"at least {FAST_READS:.0%}",
            _met(levels.fast_reads >= FAST_READS),
        ),
        ("requests that should not have failed", str(run.errors), "none", _met(not run.errors)),
    ]
    return _section("Verdict", *parts, table(["service level", "was", "objective", ""], rows))


def _requests(run: Run) -> str:
    rows = [(name, *_cells(figures)) for name, figures in run.routes.items()]
    rows += [("all reads", *_cells(run.reads)), ("all writes", *_cells(run.writes)), ("all", *_cells(run.total))]
    note = "<p>Latency counts from when a request was due, not from when it was sent: a stall shows in full.</p>"
    return table(["route", "requests", "errors", "mean", "p50", "p95", "p99", "longest"], rows) + note


def _failures(run: Run) -> str:
    statuses = table(["status", "answers"], [(name, str(count)) for name, count in sorted(run.statuses.items())])
    if not run.failures:
        return statuses
    return statuses + table(["what failed", "times"], [(name, str(count)) for name, count in run.failures.items()])


def _plots(seconds: Sequence[Second]) -> list[str]:
    rates = {
        "aimed at": [(each.elapsed, each.target_rate) for each in seconds],
        "offered": [(each.elapsed, each.offered / each.span) for each in seconds if each.span > 0.5],
        "answered": [(each.elapsed, (each.ok + each.errors) / each.span) for each in seconds if each.span > 0.5],
    }
    latencies = {
        f"{kind} p{round(q * 100)}": [
            (each.elapsed, quantile(counts, q) * 1000)
            for each in seconds
            if (counts := each.reads if kind == "reads" else each.writes)
        ]
        for kind in ("reads", "writes")
        for q in (0.5, 0.99)
    }
    waiting = {
        "outstanding": [(each.elapsed, float(each.outstanding)) for each in seconds],
        "errors": [(each.elapsed, float(each.errors)) for each in seconds],
    }
    return [
        line_plot("Rates", "requests a second", rates),
        line_plot("Latency", "ms, in each second", latencies),
        line_plot("Outstanding requests, and errors", "requests", waiting),
    ]


def _inside(run: Run) -> str:
    inside = run.inside
    rows = [
        ("requests sent by the generator, preparation included", str(run.sent)),
        ("requests counted by the gateway", _or_dash(inside.gateway_requests)),
        ("requests counted by the service", _or_dash(inside.requests)),
        ("rejected by the rate limit", _or_dash(inside.rejected)),
        ("cache hit ratio, by Prometheus over the run", _percent(inside.hit_ratio)),
        ("p50, p95, p99 inside", ", ".join(_ms(each) for each in (inside.p50, inside.p95, inside.p99))),
        ("p50, p95, p99 outside", ", ".join(_ms(each) for each in (run.total.p50, run.total.p95, run.total.p99))),
    ]
    rows += [(f"share of {name}", _percent(share)) for name, share in inside.shares.items()]
    return table(["", "figure"], rows)


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
    note = "<p>Pending: over its threshold. Firing: for as long as the alert asks.</p>"
    return table(["alert", "severity", "state", "from", "to", "threshold"], rows) + note


def _traces(run: Run) -> str:
    rows = [(each.trace_id, _ms(each.seconds), each.method, each.route, each.status) for each in run.inside.slowest]
    if not rows:
        return "<p>No trace was kept of the requests of this run, or none is known to Prometheus.</p>"
    return table(["trace id", "took, inside", "method", "route", "status"], rows)


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
    return [str(figures.requests), str(figures.errors), *map(_ms, times)]


def _class(good: bool) -> str:
    return "met" if good else "missed"


def _met(good: bool) -> str:
    return "met" if good else "missed"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"


def _or_dash(count: int | None) -> str:
    return "-" if count is None else str(count)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
