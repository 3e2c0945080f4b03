"""A console to look at: a process beside the proxy, which reads what its workers share."""
