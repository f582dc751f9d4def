"""``python -m index.serve``: all reports on localhost."""
