"""Two models on the same examples, side by side."""
