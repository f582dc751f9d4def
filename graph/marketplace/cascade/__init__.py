"""What is shown: retrieval, pre-ranking, ranking, the page, and the shopper's choice."""
