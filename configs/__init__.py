"""Typed configuration, the run folder and the rules by which stages write files: what every room may import."""
