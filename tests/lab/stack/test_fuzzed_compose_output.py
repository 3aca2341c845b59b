"""Fuzzed output of `docker compose ps` from a fixed seed."""

import json
import random

from lab.stack.faults import compose_containers
from lab.stack.native import StackError

SEED = 16


def test_fuzzed_compose_output_is_read_or_rejected() -> None:
    rows = [
        {
            "Name": "g-todo-2",
            "Service": "todo",
            "State": "running",
            "Status": "Up 2 minutes",
            "Ports": "x",
            "Health": "",
        },
        {"Name": "g-gateway-1", "Service": "gateway", "State": "exited", "Publishers": None, "Labels": {"a": [1]}},
    ]
    valid = [json.dumps(rows), "\n".join(map(json.dumps, rows)) + "\n", json.dumps(rows, indent=2), ""]
    special = ["\n", "[", "]", "{", "}", '"', ",", "null", "3", "\x00", "\u2028", "time=x level=warning\n", "{}", "[]"]
    chance, refused = random.Random(SEED), 0
    for text in valid:
        assert set(compose_containers(text)) == ({"todo-2", "gateway"} if text else set())
    for _ in range(5000):
        text = chance.choice(valid)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice(("", *special)) + text[at + chance.choice((0, 0, 1, 8, 300)) :]
        try:
            found = compose_containers(text)
        except StackError:
            refused += 1
            continue
        for part, container in found.items():
            assert all(isinstance(each, str) for each in (part, *container)), text
    assert 0 < refused < 5000
