"""What each worker serves now, and served last, for the console."""
