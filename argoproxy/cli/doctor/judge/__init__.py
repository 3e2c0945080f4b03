"""Verdicts: pure functions from what was observed to findings."""
