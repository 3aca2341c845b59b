"""Tables of backtests for the terminal."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from lab.alerts.tuning.backtest import Episode
from lab.alerts.tuning.compared import Change
from lab.alerts.tuning.corpus import Tested
from lab.alerts.tuning.propose import Proposal
from lab.alerts.tuning.since import clock, figure, labels, numbers

SCORE_HEADS = ("true", "false", "unclear", "missed", "precision", "recall", "median s", "worst s", "flaps", "<5 min")


def scores(found: Sequence[Tested], said: Mapping[str, Mapping[str, int]] | None = None) -> Table:
    """One row per alert; `said` has people's verdicts (useful, noise) on the notifications of each alert."""
    table = Table("Alert", "Values", *SCORE_HEADS, *(("verdicts",) if said else ()))
    for each in found:
        score = each.score
        table.add_row(
            each.watched.alert,
            numbers(each.watched),
            *(str(count) for count in (score.true, score.false, score.unclear, score.missed)),
            *(figure(value) for value in (score.precision, score.recall, score.median_delay, score.worst_delay)),
            str(score.flaps),
            figure(score.short_share),
            *((_said(said.get(each.watched.alert, {})),) if said else ()),
            style="red" if score.missed or score.false else "" if score.episodes else "dim",
        )
    return table


def _said(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def totals(found: Sequence[Tested]) -> str:
    """The total score of all alerts in one line."""
    score = sum((each.score for each in found[1:]), found[0].score) if found else None
    if score is None:
        return "no alert"
    return (
        f"{len(found)} alerts: {score.true} true, {score.false} false, {score.unclear} unclear, {score.missed} missed;"
        f" precision {figure(score.precision)}, recall {figure(score.recall)},"
        f" {figure(score.median_delay)} s to detect (median), {figure(score.worst_delay)} s (worst)"
    )


def changes(rows: Sequence[tuple[str, Change, str]]) -> Table:
    """The differences between episodes: history, kind of change, and the verdict on the episode."""
    table = Table(
        "History", "Change", "Fired before (UTC)", "Fires after (UTC)", "Before", "After", "Labels", "Verdict"
    )
    for place, change, verdict in rows:
        then, now = change.then, change.now
        shift = f" by {abs(change.seconds):.0f} s" if change.seconds else ""
        table.add_row(
            place,
            change.kind + shift,
            clock(then.fired) if then else "",
            clock(now.fired) if now else "",
            _lasts(then),
            _lasts(now),
            labels(change.labels),
            verdict,
            style={"same": "dim", "new": "yellow", "gone": "green"}.get(change.kind, ""),
        )
    return table


def tradeoff(proposal: Proposal) -> Table:
    """Missed faults, false episodes and median time to detect for each threshold and `for`."""
    holds = sorted({each.watched.numbers.hold for each in proposal.candidates})
    table = Table("Threshold", *(f"for {hold / 1000:g} s" for hold in holds), caption="missed / false, median seconds")
    for threshold in sorted({each.watched.numbers.threshold or 0.0 for each in proposal.candidates}):
        cells: list[Text] = []
        for hold in holds:
            for each in proposal.candidates:
                if each.watched.numbers.hold == hold and (each.watched.numbers.threshold or 0.0) == threshold:
                    mark = "bold" if each.watched == proposal.chosen.watched else ""
                    score = each.score
                    cells.append(Text(f"{score.missed} / {score.false}, {figure(score.median_delay)}", mark))
        table.add_row(f"{threshold:g}", *cells)
    return table


def _lasts(episode: Episode | None) -> str:
    if episode is None:
        return ""
    return "still firing" if episode.ended is None else f"{(episode.ended - episode.fired) / 1000:.0f} s"
