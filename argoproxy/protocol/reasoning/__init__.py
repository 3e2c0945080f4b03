"""Find a model's thoughts in fields and between tags, and remove, keep or move them."""
