"""The long-tail dashboard."""
