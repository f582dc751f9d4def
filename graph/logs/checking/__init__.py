"""What a log must be: rows are checked, and what fails is kept aside with its reason."""
