"""The dashboards' JSON against the types that Grafana publishes (npm's @grafana/schema)."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lab.panels import DASHBOARDS

PACKAGE = Path(__file__).with_name("grafana_types")
TSC = (
    *("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext"),
    *("--moduleResolution", "bundler"),
)


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with TypeScript and Grafana's types."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed: it brings Grafana's types")
    folder = tmp_path_factory.mktemp("grafana")
    for file in ("package.json", "types.ts"):
        shutil.copy(PACKAGE / file, folder)
    npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    done = subprocess.run(npm, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install Grafana's types: {done.stderr[-300:]}")
    return folder


def _complaints(folder: Path, sources: dict[str, str]) -> str:
    for name, text in sources.items():
        (folder / f"{name}.ts").write_text(
            f'import type {{ Built }} from "./types";\nexport const built: Built = {text};\n'
        )
    command = ["node_modules/.bin/tsc", *TSC, *(f"{name}.ts" for name in sources)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False).stdout


def test_the_dashboards_have_grafanas_types(compiler: Path) -> None:
    sources = {file.stem: file.read_text() for file in DASHBOARDS.glob("*.json")}
    assert _complaints(compiler, sources) == ""


def test_common_mistakes_are_detected(compiler: Path) -> None:
    text = (DASHBOARDS / "alert-tuning.json").read_text()
    slips = {
        "option": ('"perPage": 0', '"perPages": 0'),
        "value": ('"mode": "palette-classic"', '"mode": "palette-clasic"'),
        "kind": ('"asDropdown": true', '"asDropdown": "true"'),
        "version": ('"schemaVersion": 42', '"schemaVersion": 39'),
    }
    assert all(right in text for right, _ in slips.values())
    complaints = _complaints(compiler, {name: text.replace(right, wrong) for name, (right, wrong) in slips.items()})
    assert {name for name in slips if f"{name}.ts" in complaints} == slips.keys(), complaints
