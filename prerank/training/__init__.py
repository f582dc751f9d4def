"""What a system is, and how a network is trained."""
