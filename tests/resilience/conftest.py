from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.resilience.farm import Farm, Find
from tests.support.fixtures import Serve
from tests.support.switched_upstream import SwitchedUpstream


@pytest.fixture(scope="session")
def upstreams_by_name(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Find]:
    """Switched upstreams, each started when it is asked for first; those whose names begin with `tls` speak TLS."""
    running: dict[str, SwitchedUpstream] = {}
    folder = tmp_path_factory.mktemp("tls")

    def find(name: str) -> SwitchedUpstream:
        if name not in running:
            running[name] = SwitchedUpstream(name, make_certificate(ca, folder) if name.startswith("tls") else None)
        return running[name]

    yield find
    for upstream in running.values():
        upstream.stop()


def make_certificate(ca: trustme.CA, folder: Path) -> tuple[Path, Path]:
    """Write a certificate and its key."""
    certificate = ca.issue_cert("localhost", "127.0.0.1")
    chain, key = folder / "cert.pem", folder / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    return chain, key


@pytest.fixture
def farm(upstreams_by_name: Find, start: Serve, tmp_path: Path) -> Farm:
    """Upstreams that are well, and a folder for the proxy in front of them."""
    fresh: dict[str, SwitchedUpstream] = {}

    def find(name: str) -> SwitchedUpstream:
        if name not in fresh:
            fresh[name] = upstreams_by_name(name)
            fresh[name].reset()
        return fresh[name]

    return Farm(find, start, tmp_path)
