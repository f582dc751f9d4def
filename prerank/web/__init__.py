"""What the report server and the scoring service share: guards, limits, headers, log lines, and how a server ends."""
