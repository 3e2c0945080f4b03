"""Shared state: what the workers of a host know together about upstreams, in mapped memory."""
