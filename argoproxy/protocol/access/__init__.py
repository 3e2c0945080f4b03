"""Access: keys, allowed models, headers that may be forwarded, secrets that must not be shown."""
