"""From the viewer back to files: what was selected there, and who is near to whom."""
