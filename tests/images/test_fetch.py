"""What can't be shown on the wire: names and the addresses they have."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from argoproxy.images.fetch import Fetch, FetchError, FetchLimits
from argoproxy.protocol.addresses import AddressRule

LIMITS = FetchLimits(5.0, 1000, AddressRule(), ssl.create_default_context, lambda size: None)


class Net:
    """Names, and the connections that were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.connected: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self.resolve)
        monkeypatch.setattr(socket, "socket", self.made)

    def resolve(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in self.answers.pop(0)]

    def made(self, family: int) -> Net:
        return self

    def connect(self, address: tuple[str, int]) -> None:
        self.connected.append(address[0])
        raise ConnectionRefusedError

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def close(self) -> None:
        pass


def test_the_address_that_was_checked_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(monkeypatch, ["93.184.216.34", "2606:4700::1"], ["127.0.0.1"])
    with pytest.raises(FetchError, match="can't be reached"):
        Fetch("http://rebinding.example/x.png", LIMITS).run()
    assert net.asked == ["rebinding.example"], "asked once"
    assert net.connected == ["93.184.216.34", "2606:4700::1"]


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1", "93.184.216.34"], ["169.254.169.254"]]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_with_any_address_that_is_not_public_is_refused(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], scheme: str
) -> None:
    net = Net(monkeypatch, addresses)
    with pytest.raises(FetchError, match="its address is not public"):
        Fetch(f"{scheme}://mixed.example/x.png", LIMITS).run()
    assert net.connected == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/x", "begins neither"),
        ("file:///etc/passwd", "begins neither"),
        ("http://", "names no host"),
        ("http:///x", "names no host"),
        ("http://exa mple.com", "no URL may contain"),
        ("http://example.com/\r\nX: y", "no URL may contain"),
        ("http://example.com\\@127.0.0.1/", "no URL may contain"),
        ("http://me@example.com/", "credentials"),
        ("http://me:word@example.com/", "credentials"),
        ("http://@example.com/", "credentials"),
        ("http://example.com:0/", "names no host"),
        ("http://example.com:99999/", "can't be read"),
        ("http://[::1/", "can't be read"),
        ("http://ex%61mple.com/", "names no host"),
        ("http://" + "a" * 70 + ".com/", "can't be read"),
    ],
)
def test_urls_nobody_is_asked_by(monkeypatch: pytest.MonkeyPatch, url: str, why: str) -> None:
    net = Net(monkeypatch)
    with pytest.raises(FetchError, match=why):
        Fetch(url, LIMITS).run()
    assert net.asked == []


def test_an_abandoned_fetch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(monkeypatch, ["93.184.216.34"])
    fetch = Fetch("http://example.com/", LIMITS)
    fetch.abandon()
    with pytest.raises(FetchError, match="took too long"):
        fetch.run()
    assert net.connected == []
