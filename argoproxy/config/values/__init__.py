"""Values of settings: read from flags, environment and files, and parsed."""
