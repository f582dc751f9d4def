"""Ali-CCP, as it is published."""
