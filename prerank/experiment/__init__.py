"""Many fits: jobs, one pool of processes, progress."""
