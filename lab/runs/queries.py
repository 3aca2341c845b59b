"""PromQL that the live view of a load and the report both ask."""

# all but the heartbeat that fires always
REAL_ALERTS = 'severity!="none"'


def hit_ratio_query(seconds: float) -> str:
    """PromQL for hits per lookup over the last `seconds`; all lookups count, as in `cache:requests:hit_ratio1m_all`."""
    window = f"[{max(15, round(seconds))}s]"
    return f'sum(increase(cache_requests_total{{result="hit"}}{window})) / sum(increase(cache_requests_total{window}))'
