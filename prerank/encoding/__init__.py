"""From log columns to arrays and batches."""
