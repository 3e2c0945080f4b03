"""The command line: start, show, check, edit and reload; the first set-up; reading the journal."""
