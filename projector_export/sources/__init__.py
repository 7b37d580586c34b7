"""Stage 1: what to show. Folders and files become `Items` (to encode) or `Points` (ready)."""
