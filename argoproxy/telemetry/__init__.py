"""Listeners of outcomes: the access log and the metrics."""
