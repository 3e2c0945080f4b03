"""Observations: what is asked of this machine, of upstreams and of a running proxy, within short time limits."""
