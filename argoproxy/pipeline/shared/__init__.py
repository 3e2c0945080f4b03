"""What the requests of a worker share: short memories, probes of upstreams."""
