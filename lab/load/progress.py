"""Shows a run in progress: a live panel in a terminal, plain lines otherwise."""

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lab.load.limits import limit_of
from lab.load.measured import Measured
from lab.load.watch import Inside
from lab.runs.second import Second, latencies_of

# The number of seconds over which rates and percentiles are computed, so that they show the current load.
RECENT = 5
BAR = 20


class Display(Protocol):
    """Shows a run. A context manager; `update` is called about once a second."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, measured: Measured, inside: Inside) -> None:
        """Shows the current state."""


def display(console: Console, profile: str, seconds: float) -> Display:
    """The display for the kind of output: terminal or not."""
    return LivePanel(console, profile, seconds) if console.is_terminal else Lines(console, seconds)


class Recent:
    """Rates and percentiles of the last seconds of a run. Latencies in seconds; None where nothing ended."""

    def __init__(self, seconds: list[Second]) -> None:
        last = seconds[-RECENT:]
        span = sum(each.span for each in last)
        self.offered = sum(each.offered for each in last) / span if span > 0 else 0.0
        self.answered = sum(each.answered for each in last) / span if span > 0 else 0.0
        self.limit = limit_of(last)
        latencies = latencies_of(last)
        quantiles = [latencies.quantile(q) if latencies.count else None for q in (0.5, 0.95, 0.99)]
        self.p50, self.p95, self.p99 = quantiles


class Lines:
    """Prints about one line a second."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._console = console
        self._seconds = seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def update(self, measured: Measured, inside: Inside) -> None:
        """Prints a line."""
        recent, now = Recent(measured.seconds), measured.latest
        parts = [
            f"{now.elapsed:5.0f}/{self._seconds:.0f} s",
            f"{now.phase:8}",
            f"offered {recent.offered:6.1f}/s",
            f"answered {recent.answered:6.1f}/s",
            f"failed {measured.failed}",
            f"dropped {measured.dropped}",
            f"open {now.outstanding}, oldest {_ms(now.oldest)}",
            f"p50 {_ms(recent.p50)} p95 {_ms(recent.p95)} p99 {_ms(recent.p99)}",
            f"hits {_percent(inside.hit_ratio)}",
            "replicas " + (" ".join(f"{name} {share:.0%}" for name, share in inside.shares.items()) or "-"),
        ]
        if inside.firing:
            parts.append("firing " + ",".join(inside.firing))
        parts += now.lost_workers
        self._console.print("  ".join(parts), highlight=False, soft_wrap=True)


class LivePanel:
    """A progress bar with the figures below it."""

    def __init__(self, console: Console, profile: str, seconds: float) -> None:
        self._bar = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(None),
            TextColumn("{task.completed:.0f}/{task.total:.0f} s"),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self._task = self._bar.add_task(profile, total=seconds)
        self._profile = profile
        self._live = Live(self._bar, console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self, measured: Measured, inside: Inside) -> None:
        """Draws the current state."""
        now = measured.latest
        self._bar.update(self._task, completed=now.elapsed, description=f"{self._profile}: {now.phase}")
        lost = [Text(each, style="bold red") for each in now.lost_workers]
        self._live.update(Group(self._bar, _figures(measured), *lost, _balance(inside), _alerts(inside)))


def _figures(measured: Measured) -> RenderableType:
    recent = Recent(measured.seconds)
    table = Table(box=None, pad_edge=False, expand=True)
    now = measured.latest
    values: dict[str, str | Text] = {
        "offered": f"{recent.offered:.1f}/s",
        "answered": f"{recent.answered:.1f}/s",
        "p50": _ms(recent.p50),
        "p95": _ms(recent.p95),
        "p99": _ms(recent.p99),
        "failed": Text(str(measured.failed), "red" if measured.failed else ""),
        "dropped": Text(str(measured.dropped), "red" if measured.dropped else ""),
        "open": f"{now.outstanding}, oldest {_ms(now.oldest)}",
        "users": f"{now.outstanding - now.waiting} of {now.users} busy",
        "generator": Text(f"limited by {recent.limit}", "yellow") if recent.limit else "keeps up",
    }
    for name in values:
        table.add_column(name, style="bold", header_style="dim", no_wrap=True)
    table.add_row(*values.values())
    return table


def _balance(inside: Inside) -> RenderableType:
    if inside.error:
        return Text("Prometheus does not respond: no server-side figures; the load continues", style="yellow")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("hit ratio", _bar(inside.hit_ratio or 0.0), _percent(inside.hit_ratio))
    for name, share in inside.shares.items():
        table.add_row(name, _bar(share), f"{share:.0%}")
    return table


def _alerts(inside: Inside) -> RenderableType:
    if inside.firing:
        return Text("firing: " + ", ".join(inside.firing), style="bold red")
    return Text("no alert is firing", style="dim")


def _bar(share: float) -> Text:
    full = round(min(1.0, max(0.0, share)) * BAR)
    return Text.assemble(("█" * full, "cyan"), ("░" * (BAR - full), "dim"))


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"
