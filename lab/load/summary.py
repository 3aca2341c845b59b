"""The table at the end of a run."""

import sys

from rich.console import Console
from rich.table import Table

from lab.load.service_levels import AVAILABILITY, FAST_READS, FAST_SECONDS
from lab.report.record import Figures, Run

LIMITS = {
    "generator": "the load generator itself was the bottleneck: use --workers, or a machine of its own",
    "users": "all users were busy at times, so the service saw less at once than was due: raise --users",
}


def terminal() -> Console:
    """The console; where it is no terminal, wide enough for a table in a log."""
    return Console(width=None if sys.stdout.isatty() else 120)


def print_summary(console: Console, run: Run) -> None:
    """Prints what came of a run."""
    table = Table(title=f"{run.profile}, {run.seconds_run:.0f} s, seed {run.settings.seed}", title_justify="left")
    table.add_column("")
    for heading in ("requests", "errors", "p50", "p95", "p99", "longest"):
        table.add_column(heading, justify="right")
    for name, figures in run.routes.items():
        table.add_row(name, *_cells(figures))
    table.add_section()
    table.add_row("all", *_cells(run.total), style="bold")
    console.print(table)
    for line in facts(run):
        console.print(line, highlight=False)


def facts(run: Run) -> list[str]:
    """The figures that are not in the table, and the verdict last."""
    inside, levels = run.inside, run.service_levels
    rate = run.answered / run.seconds_run if run.seconds_run else 0.0
    lines = [
        f"offered {run.offered}, answered {run.answered} ({rate:.1f}/s); sent with preparation {run.sent}, "
        f"counted by the gateway {_count(inside.gateway_requests)}, by the service {_count(inside.requests)}",
        f"hit ratio {_percent(inside.hit_ratio)}; replicas "
        + (", ".join(f"{name} {share:.1%}" for name, share in inside.shares.items()) or "-"),
    ]
    fired = sorted({alert.name for alert in inside.alerts if alert.state == "firing"})
    if fired:
        lines.append(f"alerts that fired: {', '.join(fired)}")
    lines += [f"failed: {count} x {reason}" for reason, count in run.failures.items()]
    lines += [f"missing: {what}" for what in inside.missing]
    if run.limit:
        lines.append(LIMITS[run.limit])
    if run.profile == "abuse":
        lines.append(abuse_fact(run))
    if run.cut_short:
        lines.append(f"cut short: {run.cut_short}")
    if run.profile == "breakpoint":
        return [*lines, breakpoint_fact(run)]
    verdict = "met" if levels.met else "missed"
    failed = f"; {run.errors} failed, which fails the run" if run.errors and levels.met else ""
    return [
        *lines,
        f"service levels {verdict}: {levels.availability:.3%} without error (objective {AVAILABILITY:.1%}), "
        f"{levels.fast_reads:.2%} of reads within {FAST_SECONDS * 1000:.0f} ms (objective {FAST_READS:.0%}){failed}",
    ]


def breakpoint_fact(run: Run) -> str:
    """What the breakpoint profile found, in words."""
    if run.cut_short:
        return "the rate at which the service levels break was not found: cut short"
    if run.found is None:
        return "the service levels broke at the first rate already"
    return f"the service levels hold up to {run.found:.0f} requests a second"


def abuse_fact(run: Run) -> str:
    """Whether the rate limit did anything, in words."""
    rejected = run.statuses.get("429", 0)
    if not rejected:
        return "the rate limit rejected nothing: set RATE_LIMIT below the abuser's rate, such as 10/second, and restart"
    return f"the rate limit rejected {rejected} requests"


def _cells(figures: Figures) -> list[str]:
    times = (figures.p50, figures.p95, figures.p99, figures.longest)
    return [str(figures.requests), str(figures.errors), *(f"{seconds * 1000:.1f} ms" for seconds in times)]


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"
