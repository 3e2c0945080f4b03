"""Requests that are answered with a kept answer, and answers that are kept."""
