"""Classes of the operator's own: load, check and guard them."""
