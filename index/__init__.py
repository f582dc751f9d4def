"""Nearest-neighbour indexes of psi and phi, what they show about the embeddings, and the reports."""

import configs as configs  # sets how OpenMP threads wait, before anything loads the library
