"""What the clients of Messages get: events, messages, errors, usage."""
