"""One loss a file (GRACE, eqs. 2-10)."""
