"""What the audit measures of embeddings."""
