"""Counters and the ledger of one host."""
