"""Routing: from the name of a model to upstreams and parameters."""
