"""The summary at the end of a run."""

import sys

from rich.console import Console
from rich.table import Table

from lab.report.counts import count_lines
from lab.runs.record import Figures, Run
from lab.runs.service_levels import AVAILABILITY, FAST_READS, FAST_SECONDS

LIMITS = {
    "generator": "the generator was measured, not the service: it sent late or used up its core (use --workers auto, "
    "or a separate machine)",
    "users": "all users were busy at times, so the service got fewer concurrent requests than were due: raise --users",
}


def terminal() -> Console:
    """The console; if it is no terminal, wide enough for tables in a log. Brackets in a name are text to it."""
    return Console(width=None if sys.stdout.isatty() else 120, markup=False)


def print_summary(console: Console, run: Run) -> None:
    """Prints the results of a run."""
    table = Table(title=f"{run.profile}, {run.seconds_run:.0f} s, seed {run.settings.seed}", title_justify="left")
    table.add_column("")
    for heading in ("offered", "answered", "failed", "dropped", "p50", "p95", "p99", "longest"):
        table.add_column(heading, justify="right")
    for name, figures in run.routes.items():
        table.add_row(name, *_cells(figures))
    table.add_section()
    table.add_row("all", *_cells(run.total), style="bold")
    console.print(table)
    for line in facts(run):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def facts(run: Run) -> list[str]:
    """The figures that are not in the table, and the verdict last."""
    inside = run.inside
    rate = run.answered / run.seconds_run if run.seconds_run else 0.0
    lines = [
        f"offered {run.offered} = answered {run.answered} ({rate:.1f}/s) + failed {run.failed} + dropped {run.dropped}",
        *count_lines(run),
        f"hit ratio {_percent(inside.hit_ratio)}; replicas "
        + (", ".join(f"{name} {share:.1%}" for name, share in inside.shares.items()) or "-"),
    ]
    fired = sorted({alert.name for alert in inside.alerts if alert.state == "firing"})
    if fired:
        lines.append(f"alerts that fired: {', '.join(fired)}")
    lines += failure_lines(run)
    lines += [f"missing: {what}" for what in inside.missing]
    if run.limit:
        lines.append(LIMITS.get(run.limit, run.limit))
    if run.profile == "abuse":
        lines.append(abuse_fact(run))
    lines += run.lost_workers
    if run.cut_short:
        lines.append(f"cut short: {run.cut_short}")
    lines += [f"missed: {each.name} {each.was} ({each.objective})" for each in run.checks if not each.met]
    return [*lines, verdict_line(run)]


def failure_lines(run: Run) -> list[str]:
    """One line for each route and kind of failure, the most frequent first."""
    ordered = sorted(run.failures.items(), key=lambda each: -each[1].count)
    return [f"failed: {failure.count} x {name} (such as: {failure.example})" for name, failure in ordered]


def verdict_line(run: Run) -> str:
    """The verdict in one line."""
    if run.is_search:
        return breakpoint_fact(run)
    levels = run.service_levels
    parts = [
        f"service levels {'met' if levels.met else 'missed'}: {levels.availability:.3%} of what was offered answered "
        f"correctly (objective {AVAILABILITY:.1%}), {levels.fast_reads:.2%} of reads within "
        f"{FAST_SECONDS * 1000:.0f} ms (objective {FAST_READS:.0%})"
    ]
    if not run.met and levels.met:
        parts.append("the run failed for another reason")
    return "; ".join(parts)


def breakpoint_fact(run: Run) -> str:
    """The result of the search for the highest rate, as text."""
    cut = f" ({run.cut_short})" if run.cut_short else ""
    if run.found is None:
        broke = "the service levels were missed at the first rate"
        return f"the search ended before any rate held{cut}" if cut else broke
    if run.collapsed is not None:
        return (
            f"the service levels last held at {run.found:.0f} requests a second; "
            f"at {run.collapsed:.0f} the service collapsed and stopped responding"
        )
    if cut:
        return f"the service levels last held at {run.found:.0f} requests a second; then the search was cut short{cut}"
    return f"the service levels hold up to {run.found:.0f} requests a second"


def abuse_fact(run: Run) -> str:
    """What the rate limit did, as text."""
    rejected = run.statuses.get("429", 0)
    if not rejected:
        return "the rate limit rejected nothing: set RATE_LIMIT below the abuser's rate, such as 10/second, and restart"
    return f"the rate limit rejected {rejected} requests"


def _cells(figures: Figures) -> list[str]:
    times = (figures.p50, figures.p95, figures.p99, figures.longest)
    counts = (figures.offered, figures.answered, figures.failed, figures.dropped)
    # requests of a lost worker have no measured latency
    return [*map(str, counts), *(f"{seconds * 1000:.1f} ms" if figures.longest else "-" for seconds in times)]


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"
