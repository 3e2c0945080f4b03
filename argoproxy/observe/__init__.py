"""Listeners of outcomes: what is told of each request once it has ended."""
