from __future__ import annotations

import ipaddress

import pytest

from argoproxy.protocol.addresses import AddressRule, is_public

PUBLIC = "1.1.1.1 8.8.8.8 93.184.216.34 172.15.255.255 172.32.0.0 192.167.255.255 223.255.255.255 2606:4700::1 2a00::1"
SPECIAL = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255
192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 100::1
2001::1 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fd12::1 fe80::1 fec0::1 ff02::1
"""


@pytest.mark.parametrize("text", PUBLIC.split())
def test_public_addresses(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", SPECIAL.split())
def test_special_addresses(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("rule", "allowed", "refused"),
    [
        ("false", ["8.8.8.8 80"], ["127.0.0.1 80"]),
        ("true", ["8.8.8.8 80", "127.0.0.1 80", "::1 80"], []),
        ("127.0.0.1", ["127.0.0.1 80", "127.0.0.1 81"], ["127.0.0.2 80"]),
        ("127.0.0.1:81, 10.0.0.1", ["127.0.0.1 81", "10.0.0.1 9"], ["127.0.0.1 80"]),
        ("[::1]:81,fd00::1", ["::1 81", "fd00::1 80"], ["::1 80", "127.0.0.1 81"]),
        (" , ", [], ["127.0.0.1 80"]),
    ],
)
def test_rules(rule: str, allowed: list[str], refused: list[str]) -> None:
    parsed = AddressRule.parse(rule)
    for text in (*allowed, *refused):
        address, port = text.split()
        assert parsed.allows(ipaddress.ip_address(address), int(port)) is (text in allowed)


@pytest.mark.parametrize(
    "rule", ["localhost", "127.0.0.1:x", "10.0.0.0/8", "127.0.0.1:80:81", "yes", "127.0.0.1:99999", "127.0.0.1:0"]
)
def test_rules_that_are_none(rule: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        AddressRule.parse(rule)
