"""The pre-ranker: encoded columns, batches, item network, experts, losses, systems and their evaluation."""
