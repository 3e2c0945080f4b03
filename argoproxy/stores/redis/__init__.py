"""What replicas share in a Redis or Valkey server."""
