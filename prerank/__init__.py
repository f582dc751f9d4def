"""The pre-ranker: encoded columns, batches, item network, experts, losses, systems and their evaluation."""

import configs as configs  # sets how OpenMP threads wait, before anything loads the library
