"""``data=ubi``: OpenSearch User Behavior Insights."""
