"""How a worker of each kind waits for the descriptors of a request."""
