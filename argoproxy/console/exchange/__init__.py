"""One request as the console shows it, read from the journal; pure, but for the journal's files."""
