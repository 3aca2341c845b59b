"""`report.html`."""

from pathlib import Path

from lab.report.record import Run
from lab.settings import LabSettings


def write_page(run: Run, folder: Path, settings: LabSettings) -> None:
    """stub"""
