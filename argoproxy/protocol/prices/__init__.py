"""What requests cost: prices a million tokens, and how usage is read."""
