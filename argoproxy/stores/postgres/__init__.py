"""What replicas share in a PostgreSQL database: keys, teams, what was done with them, and the ledger."""
