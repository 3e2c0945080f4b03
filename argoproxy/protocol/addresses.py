"""Which addresses may be contacted for a URL that a client sent: public ones only.

The networks are those of IANA's special-purpose registries, written down here because `ipaddress.is_global` can't be
trusted: before Python 3.11.10 and 3.12.4 it is wrong for several networks (CVE-2024-4032), and 3.11.7 calls
`64:ff9b:1::1` global, a translated address (RFC 8215) that can lead to a private IPv4 network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

LAST_PORT = 65_535

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SPECIAL_IPV4 = tuple(
    map(
        ipaddress.IPv4Network,
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24"
        " 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24"
        " 203.0.113.0/24 224.0.0.0/3".split(),
    )
)
#: Global unicast. IPv4-mapped, translated (NAT64) and link-local addresses are outside of it.
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    map(ipaddress.IPv6Network, "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20".split())
)


def is_public(address: Address) -> bool:
    """Return whether an address is public."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Which addresses may be contacted besides public ones: all, or the listed ones, with a port or any port (None)."""

    allows_all: bool = False
    listed: Collection[tuple[Address, int | None]] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `true`, `false`, or `address[:port]` separated by commas, IPv6 with a port in brackets. Raises
        ValueError."""
        if text.strip().lower() in ("true", "false"):
            return cls(allows_all=text.strip().lower() == "true")
        return cls(listed=tuple(_entry(part.strip()) for part in text.split(",") if part.strip()))

    def allows(self, address: Address, port: int) -> bool:
        """Return whether an address may be contacted at a port."""
        return self.allows_all or is_public(address) or (address, port) in self.listed or (address, None) in self.listed


def _entry(text: str) -> tuple[Address, int | None]:
    host, _, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "")
    if port and not 0 < int(port) <= LAST_PORT:
        raise ValueError(f"{port} is not a port")
    return ipaddress.ip_address(host.strip("[]")), int(port) if port else None
