"""Kinds of upstreams: what the settings of each are, and which adapter speaks to it."""
