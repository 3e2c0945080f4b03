"""Settings: what there is to be set, where it is said, and what is behind the proxy by it."""
