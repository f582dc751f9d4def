"""JDsearch, as it is published."""
