"""What is known of a request while it is served: the part that goes into its outcome, and what it is charged."""

from __future__ import annotations

from collections.abc import Callable

from argoproxy.errors import Ending
from argoproxy.pipeline.accounting.account import AnswerFacts, RequestAccount
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.prices.price_table import Cost
from argoproxy.upstreams import Upstream


class RequestNotes:
    """Notes on one request. The defaults are class attributes, so that a request sets only what becomes known of it."""

    #: Stars the proxy's keys and the request's own in a name that will be logged.
    redact: Callable[[str], str]
    #: What it is charged, if it has limits or is written down.
    account: RequestAccount | None = None
    #: Seconds that it waited for a place; None if it did not wait.
    queue_s: float | None = None
    #: Whether it waits for a place now.
    is_queued = False

    _usage: Json | None = None
    _status = 0
    _model = _upstream = _return_mode = _send_mode = _sent_model = ""
    _code: str | None = None
    _reason = _address = _limit = ""
    _ending: Ending | None = None

    def set_model(self, model: str) -> None:
        """Set the model that the client named."""
        self._model = self.redact(model)

    @property
    def model_name(self) -> str:
        """The model that the client named, as it may be logged."""
        return self._model

    def set_upstream(self, upstream: Upstream) -> None:
        """Set the upstream that is asked."""
        self._upstream = upstream.name

    @property
    def upstream_name(self) -> str:
        """The name of the upstream that was asked last."""
        return self._upstream

    def add_queue_time(self, seconds: float) -> None:
        """Add to the time that the request waited for a place at an upstream."""
        self.queue_s = (self.queue_s or 0.0) + seconds

    def set_ending(self, ending: Ending) -> None:
        """Set how the request ended, unless that is set."""
        self._ending = self._ending or ending

    def _settle(self, account: RequestAccount, ending: Ending) -> Cost | None:
        facts = AnswerFacts(ending, self._status, self._model, self._upstream, self._sent_model)
        account.settle(facts, self._usage or {})
        return account.cost
