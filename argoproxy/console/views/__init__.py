"""What the console shows of the proxy, one module a view: readers of what its processes share and keep."""
