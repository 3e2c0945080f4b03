"""`usage`: what requests used and cost, read from the ledger."""
