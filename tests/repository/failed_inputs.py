"""`python -m tests.repository.failed_inputs`: inputs that failed once, with cause and tests, in Markdown.

The inputs are the rows of ../shared/cases.md; a row is named by the kind in its first column, which several may share.
Its cause is the file that handles it now. Tests carry `pytest.mark.case("KIND")`, and promtool's cases the comment
`# case: KIND` above them.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMENT = re.compile(r"# case: (?P<kind>.+)\n +- name: (?P<quote>\"?)(?P<name>.+?)(?P=quote)\n")

# the file that had the fault, or that handles the input now
CAUSES = {
    ".env": "lab/env_file.py",
    "URL options": "service/urls.py",
    "bytes in JSON": "service/tasks/negotiation.py",
    "cache that is full": "alerts/catalog/cache-redis.yml",
    "client address": "service/rate_limit.py",
    "clock": "service/infrastructure/breaker.py",
    "compose output": "lab/stack/faults.py",
    "content codings": "service/coding.py",
    "database breaker": "service/infrastructure/breaker.py",
    "export limit": "service/telemetry/collector.py",
    "foreign value": "service/tasks/values.py",
    "headers": "service/scrape.py",
    "hung answer": "lab/load/worker.py",
    "hung replica": "gateway/nginx.conf",
    "line ends": ".gitattributes",
    "links": "compose.yaml",
    "load, answers": "lab/load/expected.py",
    "load, redirects": "lab/load/connection.py",
    "load, worker": "lab/load/coordinator.py",
    "locale": "lab/stack/database.py",
    "mending the cluster": "redis/cluster.sh",
    "methods": "service/responses.py",
    "no data": "observability/prometheus/rules/http.yml",
    "odd header values": "service/requests.py",
    "old data": "lab/stack/native.py",
    "one bad event": "alerts/catalog/service.yml",
    "outage": "lab/alerts/slo.py",
    "passwords": "compose.yaml",
    "path of the clone": "lab/stack/native.py",
    "path spellings": "service/scrape.py",
    "path spellings, inside": "service/requests.py",
    "probes": "gateway/nginx.conf",
    "request line that nginx cannot read": "gateway/nginx.conf",
    "settings that changed": "lab/stack/started.py",
    "settings that collide": "lab/stack/ports.py",
    "small memory": "alerts/runbooks/RedisMemoryNearLimit.md",
    "span collector": "service/telemetry/delivery.py",
    "supervisor gone": "lab/stack/leftovers.py",
    "time": "lab/runs/record.py",
    "truncated answer": "lab/load/connection.py",
    "unknown outcome": "service/tasks/changes.py",
}


def rows(page: str) -> list[tuple[str, str]]:
    """Kind and input of each row of the table, in its order."""
    cells = [[cell.strip() for cell in line.split(" | ")] for line in page.splitlines() if line.startswith("| ")]
    return [(row[0].strip("| `"), row[1]) for row in cells if row[0].strip("| ") not in ("kind", "---")]


def named_tests(root: Path) -> dict[str, list[str]]:
    """The tests of each kind: `file::test` as pytest has it, and `file::case` of promtool's."""
    found: dict[str, list[str]] = {}
    for kind, name in [*_in_python(root), *_in_promtool(root)]:
        names = found.setdefault(kind, [])
        if name not in names:
            names.append(name)
    return found


def _in_python(root: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(root.glob("tests/**/test_*.py")):
        tree = ast.parse(file.read_text())
        # parameter tables and named marks are module-level assignments
        values = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for decorator in node.decorator_list:
                    for kind in _kinds(decorator, values):
                        yield kind, f"{file.relative_to(root)}::{node.name}"


def _kinds(node: ast.AST, values: dict[str, ast.expr]) -> Iterator[str]:
    """The arguments of `mark.case` in an expression, and in the values of the names that it uses."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in values:
            yield from _kinds(values[part.id], {name: each for name, each in values.items() if name != part.id})
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "case":
            yield from (each.value for each in part.args if isinstance(each, ast.Constant))


def _in_promtool(root: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(root.glob("alerts/tests/*.yml")):
        for comment in COMMENT.finditer(file.read_text()):
            yield comment["kind"].strip(), f"{file.relative_to(root)}::{comment['name']}"


def main() -> None:
    """Prints the table: one line per row of ../shared/cases.md, or one per kind if that file does not exist."""
    page = ROOT.parent / "shared/cases.md"
    tests = named_tests(ROOT)
    listed = rows(page.read_text()) if page.exists() else [(kind, "") for kind in sorted(CAUSES)]
    print("| row | cause | tests |")
    print("| --- | --- | --- |")
    for kind, given in listed:
        named = "<br>".join(f"`{name}`" for name in tests.get(kind, ["none"]))
        print(f"| {kind}{': ' * bool(given)}{given} | `{CAUSES.get(kind, 'unknown')}` | {named} |")


if __name__ == "__main__":
    main()
