"""`glasshouse tune` on recordings, without a stack: scores, comparisons, a proposal, a review."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lab.alerts.tuning import since
from lab.alerts.tuning.command import tune
from lab.alerts.tuning.form import load_watched
from lab.alerts.tuning.history import Samples
from lab.alerts.tuning.recording import Recording, save
from lab.settings import ROOT

STEP = 5_000
ALERT = "ErrorRatioHigh"
# five quiet minutes with a blip that is not a fault, a drill of two minutes, and three quiet minutes
CALM, DRILL = 60, 24


def _samples(name: str, values: list[float], begin: int = 0, **labels: str) -> Samples:
    times = np.arange(len(values), dtype=np.int64) * STEP + begin * STEP + 1_700_000_000_000
    return Samples(name, labels, times, np.array(values))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A recording in which the error ratio is normally 0.5 %, 3 % in a blip and 40 % in a drill."""
    ratio = [0.005] * CALM + [0.4] * DRILL + [0.005] * 36
    ratio[20:30] = [0.03] * 10
    length = len(ratio)
    folder = tmp_path / "recordings"
    series = [
        _samples("alert_signal", ratio, alert=ALERT),
        _samples("alert_events", [50.0] * length, alert=ALERT),
        _samples("alert_threshold", [0.05] * length, alert=ALERT),
        _samples("alert_floor", [5.0] * length, alert=ALERT),
        _samples("fault_active", [1.0] * DRILL + [0.0], CALM, part="postgres", kind="stop", drill=ALERT),
    ]
    save(Recording("drill", series, "made by a test"), folder / "drill.om.xz")
    return folder


def run(*arguments: object) -> Result:
    """Invokes the command, without a stack."""
    return CliRunner().invoke(tune, [*map(str, arguments), "--no-history"])


def test_the_table_has_the_usefulness_of_each_alert(corpus: Path) -> None:
    done = run("--corpus", corpus)
    assert done.exit_code == 0, done.output
    [row] = [line for line in done.stdout.splitlines() if f"│ {ALERT} " in line]
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    # true, false, unclear, missed, precision, recall, median, worst
    assert cells[2:10] == ["1", "0", "0", "0", "1", "1", "15", "15"]
    assert "precision 1, recall 1" in done.stdout
    assert run("--strict", "--corpus", corpus).exit_code == 0


def test_the_effect_of_other_thresholds_is_shown_for_each_episode(corpus: Path) -> None:
    done = run(ALERT, "--threshold", "0.02", "--for", "30s", "--corpus", corpus)
    assert done.exit_code == 0, done.output
    assert "new" in done.stdout
    assert "later by 15 s" in done.stdout
    done = run(ALERT, "--threshold", "0.6", "--corpus", corpus)
    assert "gone" in done.stdout
    done = run(ALERT, "--floor", "60", "--corpus", corpus)
    assert "gone" in done.stdout


def test_a_proposal_lies_between_the_blip_and_the_fault(corpus: Path) -> None:
    done = run(ALERT, "--propose", "--corpus", corpus)
    assert done.exit_code == 0, done.output
    chosen = done.stdout.splitlines()[-1]
    assert "misses 0 of 1 faults and has 0 false episodes" in done.stdout, chosen
    assert "#" in done.stdout


def test_a_review_detects_worse_thresholds(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = load_watched()[ALERT]
    for then, status, words in (
        (now, 0, "No alert's values have changed."),
        (now.turned(threshold=0.02, hold=20_000), 0, "1 → 0"),
        (now.turned(floor=4), 0, "1 → 1"),
    ):
        monkeypatch.setattr(since, "written_at", lambda ref, then=then: {ALERT: then})
        done = run("--since", "main", "--corpus", corpus)
        assert done.exit_code == status, done.output
        assert words in done.stdout
    for worse, words in (
        (now.turned(threshold=0.02), "false in drill at 2023-11-14"),
        (now.turned(threshold=0.6), "missed in drill at 2023-11-14"),
        (now.turned(hold=300_000), "missed in drill at 2023-11-14"),
    ):
        monkeypatch.setattr(since, "written_at", lambda ref: {ALERT: now})
        monkeypatch.setattr("lab.alerts.tuning.command.load_watched", lambda worse=worse: {ALERT: worse})
        done = run("--since", "main", "--corpus", corpus)
        assert done.exit_code == 1, done.output
        assert "**worse**" in done.stdout
        assert words in done.stdout
        assert not [line for line in done.stdout.splitlines() if line.endswith(": ")]
        assert "1 → 0" in done.stdout or "0 → 1" in done.stdout
    monkeypatch.setattr("lab.alerts.tuning.command.load_watched", lambda: {ALERT: now.turned(threshold=0.02)})
    assert run("--since", "main", "--allow-false", "1", "--corpus", corpus).exit_code == 0


def test_thresholds_of_a_commit_are_read_from_git() -> None:
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("not in a clone of the repo")
    done = run("--since", "no-such-commit")
    assert done.exit_code == 2
    assert "git has no alerts/thresholds.yml at no-such-commit" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Nothing"], "there is no alert Nothing"),
        (["errorratio"], "did you mean ErrorRatioHigh, GatewayErrorRatioHigh?"),
        (["RedisNodeDown"], "RedisNodeDown was never evaluated"),
        (["LatencyP99High", "--propose"], "no recorded fault must fire LatencyP99High"),
        (["--rules", "nowhere.yml", "--alert", "X"], "nowhere.yml: No such file"),
        (["--rules", "nowhere.yml"], "--rules needs the name of an alert"),
    ],
)
def test_an_impossible_request_is_one_line_that_says_what_to_do(
    corpus: Path, arguments: list[str], message: str
) -> None:
    if arguments == ["RedisNodeDown"]:
        # without an alert in the recording there are no evaluation times
        (corpus / "drill.om.xz").unlink()
        save(Recording("empty", [_samples("alert_signal", [1.0], alert="Other")]), corpus / "empty.om.xz")
    done = run(*arguments, "--corpus", corpus)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("glasshouse tune: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([ALERT, "--for", "soon"], "is not a duration"),
        ([ALERT, "--last", "100d"], "at most 90d"),
        ([ALERT, "--threshold", "much"], "not a valid float"),
        ([ALERT, "--floor", "-1"], "not in the range"),
    ],
)
def test_a_number_out_of_range_is_rejected(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_prometheus_given_on_the_command_line_must_answer(corpus: Path) -> None:
    done = CliRunner().invoke(tune, ["--prometheus", "http://127.0.0.1:9", "--corpus", str(corpus)])
    assert done.exit_code == 2
    assert "http://127.0.0.1:9 does not answer" in done.stderr
    (corpus / "drill.om.xz").write_bytes(b"broken")
    done = run("--corpus", corpus)
    assert "drill.om.xz: is broken" in done.stderr
