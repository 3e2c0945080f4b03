"""What happens now, for the page and for a terminal."""
