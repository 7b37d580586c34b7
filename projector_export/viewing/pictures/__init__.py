"""Views drawn to be printed, pasted or sent."""
