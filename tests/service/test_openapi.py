"""The service complies with its OpenAPI document for all requests: schemathesis with all its checks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import Replica

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("service", ["together"], indirect=True)
@pytest.mark.parametrize(("examples", "cases"), [(40, 400), pytest.param(600, 2800, marks=pytest.mark.long)])
def test_every_response_conforms_to_the_openapi_document(
    service: Replica, tmp_path: Path, examples: int, cases: int
) -> None:
    command = [
        *(
            str(Path(sys.executable).with_name("st")),
            "--config-file",
            str(CONFIG),
            "run",
            f"{service.url}/schema/openapi.json",
        ),
        *("--checks", "all", "--max-examples", str(examples), "--seed", "7"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--mode", "all", "--max-failures", "20"),
        *("--continue-on-failure", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=380, check=False)
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated
    assert int(generated[1]) >= cases
