"""A run packed to be sent: one HTML file, a site or a zip."""
