"""Unusual recordings, rule files, thresholds and times of alerts: parsed as meant, or rejected with one line."""

import lzma
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.alerts.active import active_alerts
from lab.alerts.drills.definition import DrillError, load_drills
from lab.alerts.durations import milliseconds
from lab.alerts.thresholds import ThresholdsError, load_thresholds
from lab.alerts.tuning.command import tune
from lab.alerts.tuning.form import FormError, load_watched
from lab.alerts.tuning.history import HistoryError
from lab.alerts.tuning.recording import load as load_recording
from lab.prometheus import Prometheus, PrometheusError
from lab.settings import ROOT
from tests.lab.command_line import invoke

SEED = 19


@pytest.mark.parametrize(
    "text",
    [
        *("a 1 inf", "a 1 1e300", "a 1 1e17", "a 1 nan", "a 1 -1", "a x 1", "a{ 1 1", "\ufeffa 1 1", "a 1"),
        # a binary search in unsorted times would return a random result
        *("a 1 5\na 2 1", "a 1 1\na 2 1"),
    ],
)
def test_an_invalid_line_of_a_recording_is_reported_with_its_number(tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.om.xz"
    file.write_bytes(lzma.compress(f"{text}\n# EOF\n".encode()))
    with pytest.raises(HistoryError, match=f"line {text.count(chr(10)) + 1} "):
        load_recording(file)


def test_label_values_of_a_recording_may_contain_any_character(tmp_path: Path) -> None:
    file = tmp_path / "odd.om.xz"
    file.write_bytes(lzma.compress('a{x="p\u2028\x85\x0b\\"}q"} 1 1\r\n# EOF\r\n'.encode()))
    (series,) = load_recording(file).series
    assert series.labels == {"x": 'p\u2028\x85\x0b"}q'}


def test_fuzzed_recordings_are_read_or_rejected(tmp_path: Path) -> None:
    chance, file, refused = random.Random(SEED), tmp_path / "odd.om.xz", 0
    whole = 'alert_signal{alert="A",node="x\\"y"} 0.5 1.000\nalert_signal{alert="A"} NaN 2\nALERTS 1 3\n# EOF\n'
    for number in range(1500):
        text = whole
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text))
            odd = chance.choice(("\x00", "9" * 30, "inf", "nan", "\n", '"', "}", "\\", " ", "e9", "\u2028", ""))
            text = text[:at] + odd + text[at + chance.choice((0, 1, 5)) :]
        content = lzma.compress(text.encode(), preset=0)
        if number % 5 == 0:
            content = content[: chance.randrange(len(content))] + chance.randbytes(3)
        file.write_bytes(content)
        try:
            load_recording(file)
        except HistoryError:
            refused += 1
    assert 300 < refused < 1400


@pytest.mark.parametrize(("text", "days"), [("1w", 7), ("1y", 365), ("1w1d", 8), ("0", 0), ("0s", 0)])
def test_a_duration_is_valid_if_prometheus_accepts_it(text: str, days: int) -> None:
    assert milliseconds(text) == days * 86_400_000


RULE = "groups: [{rules: [{alert: A, expr: x}]}]\n"


@pytest.mark.parametrize(
    "content",
    [
        b"groups: # f\xfcr\n",
        b"[" * 5000,
        b"groups: [{rules: [{alert: A, expr: x}]}]\ngroups: []\n",
        b"groups: [{interval: 2026-02-31}]\n",
        b"a: &a [*a]\ngroups: *a",
        b"x: " + b"9" * 5000,
        b"\x00",
    ],
    ids=lambda content: repr(content[:30]),
)
def test_an_invalid_rule_file_is_one_line_of_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rules.yml"
    file.write_bytes(content)
    done = invoke(tune, "--rules", str(file), "--alert", "A", "--prometheus", "http://127.0.0.1:1")
    assert done.exit_code == 2
    assert "not a rule file of Prometheus" in done.output
    assert done.output.count("\n") == 1


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_bytes(b"\xef\xbb\xbf" + RULE.encode())
    assert (
        "does not answer"
        in invoke(tune, "--rules", str(file), "--alert", "A", "--prometheus", "http://127.0.0.1:1").output
    )


ONE = "A: {severity: page, for: 1m, threshold: 1, floor: 1}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{ONE}# f\u00fcr\n".encode("latin-1"), "line 2: not UTF-8"),
        ((ONE + ONE).encode(), "twice"),
        (b"A: {severity: page, for: 1m, for: 2m}\n", "twice"),
        (None, "No such file"),
    ],
)
def test_both_parsers_report_invalid_thresholds(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "thresholds.yml").write_bytes(content)
    with pytest.raises(ThresholdsError, match=said):
        load_thresholds(tmp_path)
    with pytest.raises(FormError, match=said):
        load_watched(tmp_path)


def test_a_duplicate_drill_in_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("A: {cannot: x}\nB: {cannot: x}\nA: {cannot: y}\n")
    with pytest.raises(DrillError, match="A is there twice"):
        load_drills(tmp_path)


def test_the_time_of_an_alert_is_parsed_in_any_time_zone() -> None:
    class Canned(Prometheus):
        def query(self, promql: str, at: float | None = None) -> list[Any]:
            return []

        def get(self, path: str, **params: Any) -> Any:
            row = {"labels": {"alertname": "A"}, "annotations": {}, "state": "firing", "value": "1"}
            times = ("2026-01-02T03:04:05.678901234Z", "2026-01-02T05:04:05.678901234+02:00")
            return {"alerts": [{**row, "activeAt": at} for at in times]}

    one, other = active_alerts(Canned("http://127.0.0.1:1"))
    assert one.since == other.since
    assert (one.since.hour, one.since.minute) == (3, 4)


def test_an_alert_without_a_time_is_an_invalid_prometheus_response() -> None:
    class Canned(Prometheus):
        def query(self, promql: str, at: float | None = None) -> list[Any]:
            return []

        def get(self, path: str, **params: Any) -> Any:
            return msgspec.json.decode(b'{"alerts":[{"labels":{"alertname":"A"},"state":"x","activeAt":"soon"}]}')

    with pytest.raises(PrometheusError, match="does not answer as Prometheus does"):
        active_alerts(Canned("http://127.0.0.1:1"))


def test_both_parsers_agree_on_fuzzed_thresholds(tmp_path: Path) -> None:
    chance, taken = random.Random(SEED), 0
    whole = (ROOT / "alerts/thresholds.yml").read_bytes()
    odd = (
        b"\xff",
        b"\x00",
        b"nan",
        b"[",
        b"]",
        b"{",
        b":",
        b"\n",
        b" ",
        b"\t",
        b"!!python/object:os.system ",
        b"&a *a",
        b"-",
        b"9" * 300,
    )
    for _ in range(120):
        at = chance.randrange(len(whole))
        content = whole[:at] + chance.choice(odd) + whole[at + chance.choice((0, 1, 5)) :]
        (tmp_path / "thresholds.yml").write_bytes(content)
        try:
            checked = load_thresholds(tmp_path)
        except ThresholdsError:
            checked = {}
        try:
            watched = load_watched(tmp_path)
        except FormError as error:
            assert not checked, (str(error), content[at - 20 : at + 20])  # noqa: PT017
            watched = {}
        # the other parser reads the same from a file that the stricter one accepts
        assert {name: (each.threshold, each.floor) for name, each in checked.items()} == {
            name: (watched[name].numbers.threshold, watched[name].numbers.floor) for name in checked
        }
        taken += bool(checked)
    assert 10 < taken < 110
