"""In whose name an upstream is asked, where it is told so in the body."""

from __future__ import annotations

import re
from dataclasses import dataclass

from argoproxy.protocol.http_messages import header
from argoproxy.protocol.routing.call import Call

_BEARER = re.compile(r"^bearer(\s+|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Identity:
    """`user` is the configured name; with `passes_callers` whoever calls is the name, where somebody is known: by the
    name of our key, or else by the key that is sent."""

    user: str = ""
    passes_callers: bool = False

    def user_for(self, call: Call) -> str:
        """Give the name for a call; "" when nobody is known."""
        return self.caller_of(call) or self.user

    def caller_of(self, call: Call) -> str:
        """Give the name of the caller, where that counts: keys come in Authorization, X-API-Key or API-Key."""
        keys = (header(call.headers, name).strip() for name in ("authorization", "x-api-key", "api-key"))
        names = (_BEARER.sub("", key, count=1) for key in keys)
        return next(filter(None, (call.caller, *names)), "") if self.passes_callers else ""
