"""Answers that are kept and given again to the very same request."""
