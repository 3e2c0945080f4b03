"""Routes to upstreams that refuse what a test wants them to refuse."""

from __future__ import annotations

import json
from typing import Any

from argoproxy.errors import ProxyError, UpstreamStatus
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.modes import Mode, Usage
from argoproxy.protocol.routing.route import Provider, Route
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.routing.rules import Rule, Rules, RuleSet
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.demo import DemoUpstream

#: The refusal of a mode that these upstreams know.
MODE_REFUSED = UpstreamStatus(422, (), b"{}")


class Choosy(DemoUpstream):
    """An upstream that says 422 to a mode that it does not serve."""

    def refuses_mode(self, error: ProxyError) -> bool:
        return error is MODE_REFUSED


def routes_to(*names: str, mode: Mode = Mode.OFF, usage: Usage = Usage.AS_ASKED, **body: Any) -> list[Route[Upstream]]:
    """Return the routes of a chat to upstreams of these names; `body` is added to the chat's."""
    providers: list[Provider[Upstream]] = [Provider(Choosy(name), mode=mode, usage=usage) for name in names]
    rules = Rules((RuleSet("models", (Rule("m", upstreams=names),)),))
    raw = json.dumps({"model": "m", "messages": [], **body}).encode()
    call = Call("id", 1, "/v1/chat/completions", "", (), json.loads(raw), raw, original_body=json.loads(raw))
    return list(Models(providers, rules).resolve(call))
