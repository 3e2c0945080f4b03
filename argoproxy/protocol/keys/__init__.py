"""Managed keys: what is known of each, how it changes, and how a request finds it."""
