"""Stage 2: `Items` become `Points`."""
