"""redis/cluster.sh with a redis-cli that answers for nodes in a state into which real ones get only by chance."""

import os
import subprocess
import sys
from pathlib import Path

from lab.settings import ROOT
from testbed.conditions import wait_for

NODES = "10.0.0.1:6379 10.0.0.2:6379"
# the second node replicates the first, which has another address than before; Redis forgot to follow it there
REDIS_CLI = """#!{python}
import sys
from pathlib import Path

folder = Path({folder!r})
node, call = sys.argv[2], " ".join(sys.argv[5:])
with (folder / "calls").open("a") as calls:
    print(node, call, file=calls)
followed = (folder / "followed").exists()
nodes = [["aaa", "10.0.0.1:6379@16379,redis-1", "master", "-", "0", "0", "1", "connected", "0-16383"],
         ["bbb", "10.0.0.2:6379@16379,redis-2", "slave", "aaa", "0", "0", "1", "connected"]]
me = int(node[-1]) - 1
nodes[me][2] = "myself," + nodes[me][2]
state = "up" if followed else "down"
host = "10.0.0.1" if followed else "10.0.0.9"
of_replica = ["role:slave", f"master_host:{{host}}", "master_port:6379", f"master_link_status:{{state}}"]
replication = ["role:master", "\\r\\n".join(of_replica)]
answers = {{
    "ping": "PONG",
    "cluster info": "cluster_state:ok\\r\\ncluster_slots_assigned:16384\\r\\ncluster_known_nodes:2",
    "cluster nodes": "\\n".join(" ".join(each) for each in nodes),
    "cluster myid": nodes[me][0],
    "info replication": replication[me],
}}
if call == "cluster replicate aaa":
    (folder / "followed").touch()
print(answers.get(call, "OK"))
"""


def test_a_replica_follows_its_primary_to_a_new_address(tmp_path: Path) -> None:
    program = tmp_path / "redis-cli"
    program.write_text(REDIS_CLI.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NODES": NODES}
    with (tmp_path / "log").open("w") as log:
        script = subprocess.Popen(["sh", str(ROOT / "redis/cluster.sh")], env=environment, stdout=log)
    try:
        wait_for(lambda: "complete" in (tmp_path / "log").read_text(), what="a complete cluster")
    finally:
        script.terminate()
        script.wait()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls.count("10.0.0.2 cluster replicate aaa") == 1
    assert not [call for call in calls if call.startswith("10.0.0.1 cluster replicate")]
    log_lines = (tmp_path / "log").read_text().splitlines()
    assert log_lines[0] == "redis-cluster: 10.0.0.2:6379 follows its primary aaa to its new address"
    assert log_lines[1] == "redis-cluster: the cluster is complete"
