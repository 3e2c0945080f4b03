"""How a release is built: docs/releasing.md."""
