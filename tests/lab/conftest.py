"""The laboratory judges the same doors that the tests of the wire ask."""

from tests.wire.conftest import ca, ca_file, serve, start, tls_upstream, upstream

__all__ = ["ca", "ca_file", "serve", "start", "tls_upstream", "upstream"]
