"""The learned ranking model of the simulated marketplace."""
