"""Which addresses may be asked for something a client named: public ones (IANA special-purpose registries)."""

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
#: Everything else is not global unicast: mapped, translated and link-local addresses are outside of it.
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    map(ipaddress.IPv6Network, "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20".split())
)


def is_public(address: Address) -> bool:
    """Tell whether an address belongs to the open internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Which addresses may be asked besides public ones: all, or those listed, with a port or with any (None)."""

    allows_all: bool = False
    listed: Collection[tuple[Address, int | None]] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `true`, `false`, or `address[:port]` by commas, IPv6 with a port in brackets. Raises ValueError."""
        if text.strip().lower() in ("true", "false"):
            return cls(allows_all=text.strip().lower() == "true")
        return cls(listed=tuple(_entry(part.strip()) for part in text.split(",") if part.strip()))

    def allows(self, address: Address, port: int) -> bool:
        """Tell whether an address may be asked at a port."""
        return self.allows_all or is_public(address) or (address, port) in self.listed or (address, None) in self.listed


def _entry(text: str) -> tuple[Address, int | None]:
    host, _, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "")
    if port and not 0 < int(port) <= LAST_PORT:
        raise ValueError(f"{port} is no port")
    return ipaddress.ip_address(host.strip("[]")), int(port) if port else None
