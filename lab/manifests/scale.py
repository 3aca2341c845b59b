"""Variants of the configuration for loads that are too large for one Prometheus, one disk and three Redis shards."""

from typing import Any

import yaml

from lab.manifests.prometheus import configuration
from lab.settings import ROOT

REDIS_NODES = 12
STORE = "http://metrics-store:8080/api/v1/push"
HEADER = "# Written by `make manifests` from observability/{} and lab/manifests: do not edit.\n"


def prometheus() -> str:
    """Prometheus with a share of the replicas and remote write to a store; the container `shard` sets the share."""
    config = configuration()
    config["global"]["external_labels"] |= {"cluster": "${CLUSTER}", "prometheus": "${POD_NAME}"}
    config["remote_write"] = [
        {
            "url": STORE,
            "send_exemplars": True,
            # external labels that are only for links in alerts
            "write_relabel_configs": [{"regex": "desk_url|dashboards_url", "action": "labeldrop"}],
        }
    ]
    for job in config["scrape_configs"]:
        if job["job_name"] == "todo":
            job["relabel_configs"] += [
                {"source_labels": ["__address__"], "modulus": 1, "target_label": "__tmp_shard", "action": "hashmod"},
                {"source_labels": ["__tmp_shard"], "regex": "SHARD|0", "action": "keep"},
            ]
        if job["job_name"] == "redis":
            first = job["static_configs"][0]["targets"][0]
            job["static_configs"] = [
                {"targets": [first.replace("redis-1", f"redis-{n}")], "labels": {"node": f"redis-{n}"}}
                for n in range(1, REDIS_NODES + 1)
            ]
    return HEADER.format("prometheus/prometheus.yml") + yaml.safe_dump(config, sort_keys=False, width=120)


def tempo() -> str:
    """Tempo with object storage."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "observability/tempo/tempo.yaml").read_text(encoding="utf-8"))
    trace = config["storage"]["trace"]
    trace["backend"] = "s3"
    del trace["local"]
    trace["s3"] = {"bucket": "${TRACES_BUCKET}", **_bucket()}
    return HEADER.format("tempo/tempo.yaml") + yaml.safe_dump(config, sort_keys=False, width=120)


def loki() -> str:
    """Loki with object storage for chunks and index."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "observability/loki/loki.yaml").read_text(encoding="utf-8"))
    config["common"]["storage"] = {"s3": {"bucketnames": "${LOGS_BUCKET}", "s3forcepathstyle": True, **_keys()}}
    for each in config["schema_config"]["configs"]:
        each["object_store"] = "s3"
    config["compactor"]["delete_request_store"] = "s3"
    return HEADER.format("loki/loki.yaml") + yaml.safe_dump(config, sort_keys=False, width=120)


def _bucket() -> dict[str, str | bool]:
    return {
        "endpoint": "${S3_ENDPOINT}",
        "access_key": "${AWS_ACCESS_KEY_ID}",
        "secret_key": "${AWS_SECRET_ACCESS_KEY}",
    }


def _keys() -> dict[str, str]:
    keys = _bucket()
    return {
        "endpoint": str(keys["endpoint"]),
        "access_key_id": str(keys["access_key"]),
        "secret_access_key": str(keys["secret_key"]),
    }
