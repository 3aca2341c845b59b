"""PromQL queries that the live view and the report share."""

# all alerts except the dead man's switch, which always fires
REAL_ALERTS = 'severity!="none"'


def hit_ratio_query(seconds: float) -> str:
    """PromQL for hits per lookup over the last `seconds`; all lookups count, as in `cache:requests:hit_ratio1m_all`."""
    window = f"[{max(15, round(seconds))}s]"
    return f'sum(increase(cache_requests_total{{result="hit"}}{window})) / sum(increase(cache_requests_total{window}))'
