"""Writes a run's result for CI servers and scripts: JUnit XML and JSON."""

import re
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from lab.report.summary import facts
from lab.runs.check import Check
from lab.runs.record import Run

# XML must not contain these characters (https://www.w3.org/TR/xml/#charsets), but quoted responses may
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def all_checks(run: Run) -> list[Check]:
    """All checks of a run, including that it was complete."""
    lost = "; ".join(run.lost_workers)
    return [
        *run.checks,
        Check("ran to its end", run.cut_short or "yes", "yes", not run.cut_short),
        Check("kept its workers", lost or "yes", "yes", not lost),
    ]


def write_json(run: Run, file: Path) -> None:
    """Writes the run without its seconds, and the checks. Raises `OSError`."""
    summary = {
        "id": run.id,
        "profile": run.profile,
        "met": run.met,
        "checks": all_checks(run),
        "offered": run.offered,
        "answered": run.answered,
        "failed": run.failed,
        "dropped": run.dropped,
        "failures": run.failures,
        "total": run.total,
        "reads": run.reads,
        "writes": run.writes,
        "found": run.found,
        "cut_short": run.cut_short,
        "command": run.settings.command,
    }
    file.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n")


def write_junit(run: Run, file: Path) -> None:
    """Writes a test suite with a test case for each check, in the form that CI servers read. Raises `OSError`."""
    results = all_checks(run)
    failures = sum(not each.met for each in results)
    suite = ElementTree.Element(
        "testsuite",
        name=f"glasshouse load {run.profile}",
        tests=str(len(results)),
        failures=str(failures),
        errors="0",
        skipped="0",
        time=f"{run.seconds_run:.1f}",
    )
    for each in results:
        case = ElementTree.SubElement(suite, "testcase", classname=f"load.{run.profile}", name=each.name)
        if not each.met:
            reason = f"{each.was}, required: {each.objective}"
            ElementTree.SubElement(case, "failure", message=reason).text = reason
    ElementTree.SubElement(suite, "system-out").text = "\n".join(facts(run))
    suites = ElementTree.Element("testsuites", tests=str(len(results)), failures=str(failures), errors="0")
    suites.append(suite)
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode", xml_declaration=False)
    head = "<?xml version='1.0' encoding='utf-8'?>\n"
    file.write_bytes((head + NO_XML.sub("\N{REPLACEMENT CHARACTER}", text) + "\n").encode())
