"""The adapters for Argonne National Laboratory's Argo gateway."""
