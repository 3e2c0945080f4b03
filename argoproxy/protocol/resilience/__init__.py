"""Resilience: what follows from failures of upstreams. Pure: times are arguments."""
