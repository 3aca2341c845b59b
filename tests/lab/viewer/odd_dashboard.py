"""A dashboard and its metrics for cases that the committed ones do not have: hostile labels, failures, defaults."""

import time
from typing import Any

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
HOSTILE = "<img src=x onerror=document.title='owned'>"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_BEGAN = time.time()
# in a query: replaced when the dashboard is written, because the import may be longer ago than the five minutes shown
ENDED = "ENDED"


def odd_metrics() -> bytes:
    """A counter, a gauge with a hostile label, states, and a histogram with an exemplar; their values keep changing."""
    age = time.time() - _BEGAN
    fast, slow = int(age * 20), int(age * 2)
    lines = [
        "# TYPE odd_level gauge",
        f'odd_level{{name="{HOSTILE}"}} {1 + age % 7:.3f}',
        f'odd_level{{name="quiet"}} {2 + age % 3:.3f}',
        "# TYPE odd_bytes gauge",
        "odd_bytes 3145728",
        "# TYPE odd_state gauge",
        f'odd_state{{part="one"}} {int(age) % 3}',
        'odd_state{part="two"} 0',
        "# TYPE odd_seconds histogram",
        f'odd_seconds_bucket{{le="0.1"}} {fast}',
        f'odd_seconds_bucket{{le="1.0"}} {fast + slow} # {{trace_id="{TRACE}"}} 0.7 {time.time():.3f}',
        f'odd_seconds_bucket{{le="+Inf"}} {fast + slow}',
        f"odd_seconds_sum {fast * 0.05 + slow * 0.7:.3f}",
        f"odd_seconds_count {fast + slow}",
        "# EOF",
    ]
    return ("\n".join(lines) + "\n").encode()


def _target(expr: str, **rest: Any) -> dict[str, Any]:
    return {
        "refId": "A",
        "expr": expr,
        "range": True,
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        **rest,
    }


_STEPS = {"mode": "absolute", "steps": [{"value": None, "color": "#009E73"}, {"value": 4, "color": "#D55E00"}]}
_STATES = [
    {
        "type": "value",
        "options": {
            "0": {"text": "idle", "color": "#999999", "index": 0},
            "1": {"text": "busy", "color": "#0072B2", "index": 1},
            "2": {"text": "broken", "color": "#D55E00", "index": 2},
        },
    }
]

_NOTHING = {
    "type": "special",
    "options": {"match": "null+nan", "result": {"text": "nothing now", "color": "#999999", "index": 0}},
}
_BUDGET = {
    "max": 1,
    "color": {"mode": "fixed", "fixedColor": "#aa00aa"},
    "custom": {"axisSoftMin": 0, "lineWidth": 3},
}

_PANELS: list[dict[str, Any]] = [
    {
        "type": "timeseries",
        "title": "hostile names",
        "targets": [_target("odd_level", legendFormat="{{name}}")],
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}},
        "fieldConfig": {
            "defaults": {
                "unit": "short",
                "custom": {"fillOpacity": 10},
            },
            "overrides": [
                {
                    "matcher": {"id": "byName", "options": "quiet"},
                    "properties": [
                        {"id": "color", "value": {"mode": "fixed", "fixedColor": "#aa00aa"}},
                        {"id": "unit", "value": "bytes"},
                    ],
                }
            ],
        },
    },
    *(
        {
            "type": "timeseries",
            "title": title,
            "targets": [_target(f'{value} + odd_level{{name="quiet"}} / 100', legendFormat="left")],
            "fieldConfig": {"defaults": _BUDGET, "overrides": []},
        }
        for title, value in (("most of the budget", 0.9), ("overspent budget", -0.5))
    ),
    {"type": "timeseries", "title": "broken query", "targets": [_target("rate(odd_level[")]},
    {"type": "stat", "title": "nothing there", "targets": [_target('odd_absent{route=~"$route"}')]},
    {
        "type": "timeseries",
        "title": "half there",
        "targets": [_target("odd_bytes"), _target("odd_missing", refId="B")],
        "fieldConfig": {"defaults": {"unit": "bytes"}, "overrides": []},
    },
    {
        "type": "timeseries",
        "title": "with traces",
        "targets": [_target("histogram_quantile(0.99, rate(odd_seconds_bucket[20s]))", exemplar=True)],
        "fieldConfig": {"defaults": {"unit": "s"}, "overrides": []},
    },
    {
        "type": "heatmap",
        "title": "spread",
        "targets": [_target("rate(odd_seconds_bucket[20s])", format="heatmap", legendFormat="{{le}}")],
        "options": {"yAxis": {"unit": "s"}},
    },
    {
        "type": "state-timeline",
        "title": "states",
        "targets": [_target("odd_state", legendFormat="{{part}}")],
        "fieldConfig": {"defaults": {"mappings": _STATES, "thresholds": _STEPS}, "overrides": []},
        "options": {"showValue": "auto"},
    },
    {
        "type": "stat",
        "title": "two values",
        "targets": [_target("odd_level", legendFormat="{{name}}")],
        "fieldConfig": {"defaults": {"thresholds": _STEPS, "color": {"mode": "thresholds"}}, "overrides": []},
        "options": {"graphMode": "area"},
    },
    {
        "type": "bargauge",
        "title": "bars",
        "targets": [_target("odd_level", legendFormat="{{name}}", instant=True)],
    },
    {
        "type": "bargauge",
        "title": "one bar, with a legend",
        "targets": [_target('up{job="odd"}', legendFormat="{{job}}", instant=True)],
    },
    {
        "type": "bargauge",
        "title": "one bar, with a display name",
        "targets": [_target('up{job="odd"}', legendFormat="{{job}}", instant=True)],
        "fieldConfig": {"defaults": {"displayName": "${__field.labels.job}"}, "overrides": []},
        "options": {"namePlacement": "top"},
    },
    {"type": "gauge", "title": "gauge", "targets": [_target("odd_level", legendFormat="{{name}}")]},
    {"type": "table", "title": "labels", "targets": [_target("odd_level", instant=True, format="table")]},
    # surprising rendering of Grafana, which the viewer must reproduce
    {
        "type": "table",
        "title": "bare metrics",
        "targets": [
            _target('up{job="odd"}', instant=True, format="table"),
            _target('scrape_duration_seconds{job="odd"}', refId="B", instant=True, format="table"),
        ],
        "transformations": [{"id": "merge", "options": {}}],
    },
    {
        "type": "state-timeline",
        "title": "states by threshold",
        "targets": [_target("odd_state", legendFormat="{{part}}")],
        "fieldConfig": {
            "defaults": {
                "mappings": _STATES,
                "color": {"mode": "thresholds"},
                "thresholds": {"mode": "absolute", "steps": [{"value": None, "color": "#009E73"}, {"value": 1}]},
            },
            "overrides": [],
        },
        "options": {"mergeValues": True, "perPage": 0},
    },
    {
        "type": "state-timeline",
        "title": "pages",
        "targets": [_target("prometheus_http_request_duration_seconds_bucket", legendFormat="{{le}}")],
    },
    {
        "type": "stat",
        "title": "waiting",
        "targets": [_target("odd_absent")],
        "fieldConfig": {"defaults": {"noValue": "nothing was asked"}, "overrides": []},
    },
    *(
        {
            "type": "stat",
            "title": f"ended, {calc}",
            "targets": [_target(f"(vector(5) and on () (vector(time()) < {ENDED})) or vector(0 / 0)")],
            "fieldConfig": {"defaults": {"mappings": [_NOTHING], "thresholds": _STEPS}, "overrides": []},
            "options": {"reduceOptions": {"calcs": [calc]}},
        }
        for calc in ("last", "lastNotNull")
    ),
    {"type": "piechart", "title": "unknown kind", "targets": [_target("odd_bytes")]},
]

ODD: dict[str, Any] = {
    "uid": "odd",
    "title": "Odd",
    "description": "What the committed dashboards do not have.",
    "time": {"from": "now-5m", "to": "now"},
    "refresh": "5s",
    "annotations": {"list": []},
    "templating": {
        "list": [
            {
                "name": "route",
                "label": "Name",
                "type": "query",
                "query": {"query": "label_values(odd_level, name)", "refId": "x"},
                "multi": True,
                "includeAll": True,
                "hide": 0,
            }
        ]
    },
    "panels": [
        {"fieldConfig": {"defaults": {}, "overrides": []}, "description": f"The panel {panel['title']}.", **panel}
        | {"id": number, "gridPos": {"x": (number % 3) * 8, "y": (number // 3) * 8, "w": 8, "h": 8}}
        for number, panel in enumerate(_PANELS)
    ],
}
