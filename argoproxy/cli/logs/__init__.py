"""The command `logs`: read a journal and show its exchanges, one in full, or numbers per model."""
