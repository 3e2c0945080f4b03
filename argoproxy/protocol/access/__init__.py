"""Who may ask for what, and what nobody may see: keys, allow-list, secrets."""
