"""Training runs: embeddings that follow a model as it learns."""
