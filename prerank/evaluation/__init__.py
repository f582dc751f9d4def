"""What figures mean: metrics (eq. 12), segments, intervals, tests."""
