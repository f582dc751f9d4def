"""From a batch to logits: φ, the request and the pair, and the heads (GRACE, eqs. 1 and 7)."""
