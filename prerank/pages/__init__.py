"""What every page shares: one renderer, one table, one plot, one Markdown writer."""
