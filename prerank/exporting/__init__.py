"""A fitted system as one folder that stands alone: what ``prerank.serving`` reads, and other engines too."""
