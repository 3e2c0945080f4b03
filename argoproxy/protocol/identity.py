"""In whose name an upstream is asked, where it is told so in the body."""

from __future__ import annotations

import re
from dataclasses import dataclass

from argoproxy.protocol.exchange import Headers, header

_BEARER = re.compile(r"^bearer(\s+|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Identity:
    """`user` is the configured name; with `passes_callers` the key a caller sends is the name, where there is one."""

    user: str = ""
    passes_callers: bool = False

    def of(self, headers: Headers) -> str:
        """Give the name for a request; "" when nobody is known."""
        return self.caller(headers) or self.user

    def caller(self, headers: Headers) -> str:
        """Give the name a caller sends as a key, where that counts: from Authorization, X-API-Key or API-Key."""
        keys = (header(headers, name).strip() for name in ("authorization", "x-api-key", "api-key"))
        names = (_BEARER.sub("", key, count=1) for key in keys)
        return next(filter(None, names), "") if self.passes_callers else ""
