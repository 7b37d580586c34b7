"""Stage 5: after the files exist."""
