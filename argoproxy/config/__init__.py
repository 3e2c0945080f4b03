"""Settings: what can be set, where it is set, and the one frozen Config made of it."""
