"""Values of settings: each declared once, read from flags, environment and files, and parsed."""
