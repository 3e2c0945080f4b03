"""An upstream of one's own: a region chosen by header, context put in front of every chat, answers redacted.

Every region speaks OpenAI's dialect, so one OpenAI upstream for each does the writing and the reading; here stands
only what is different. Where nothing is said here (embeddings, other paths), the proxy's defaults hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from enterprise_redaction import LONGEST, Redaction, RedactionFilter

from argoproxy.api import (
    BadRequest,
    BaseUrl,
    Batch,
    Call,
    ClientRequest,
    Document,
    Filter,
    Headers,
    OpenAIUpstream,
    ProxyError,
    Reply,
    UpstreamRequest,
    get_header,
)

REGION = "X-Region"


class Enterprise:
    """The upstream `kind: enterprise_upstream:Enterprise` names; its arguments are the options of the file."""

    def __init__(
        self,
        *,
        base_url: str,
        regions: Mapping[str, str] | None = None,
        context: str = "",
        redact: Sequence[str] = (),
        longest: int = LONGEST,
    ) -> None:
        """`base_url` serves who names no region, `regions` are base URLs by name; `context` is a system message;
        `redact` are regular expressions, `longest` how many characters one match may have.
        Raises ValueError, TypeError."""
        self._home = _upstream("base_url", base_url)
        self._regions = {name: _upstream(f"region {name!r}", url) for name, url in _named(regions).items()}
        if not isinstance(context, str):
            raise TypeError("`context` is no text")
        self._context = context
        self._redaction = Redaction.parse(redact, longest)

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Ask the region of the caller, in the enterprise's context. Raises BadRequest."""
        return self._region(call.headers).completion_request(with_context(call, self._context))

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion, as every region sends it."""
        return self._home.read_completion(reply, call)

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        """Read an error answer, as every region sends it."""
        return self._home.read_error(status, headers, body)

    def filters(self, call: Call) -> Sequence[Filter]:
        """Redact what the client sees."""
        return (RedactionFilter(self._redaction),)

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Ask the region of the caller for its models. Raises BadRequest."""
        return self._region(request.headers).model_list_request(request)

    def read_model_list(self, listed: bytes, name: str, created: int) -> Document:
        """Give the list of models as it came."""
        return self._home.read_model_list(listed, name, created)

    def probe_request(self) -> UpstreamRequest:
        """Ask whether anyone is there, where no region is named."""
        return self._home.probe_request()

    def _region(self, headers: Headers) -> OpenAIUpstream:
        name = get_header(headers, REGION.lower()).strip()
        if name and name not in self._regions:
            known = ", ".join(sorted(self._regions)) or "none is served"
            raise BadRequest(
                f"`{REGION}` names an unknown region; known: {known}.", param=REGION, code="unknown_region"
            )
        return self._regions[name] if name else self._home


def with_context(call: Call, context: str) -> Call:
    """Put a system message in front of a chat, unless it begins with this one; a legacy prompt stays as it is."""
    messages = call.body.get("messages")
    said = {"role": "system", "content": context}
    if not context or not isinstance(messages, list) or messages[:1] == [said]:
        return call
    return call.with_body({**call.body, "messages": [said, *messages]})


def _named(regions: Any) -> Mapping[str, str]:
    if not isinstance(regions or {}, Mapping):
        raise TypeError("`regions` is no table of names and base URLs")
    for name in regions or {}:
        if not isinstance(name, str):
            raise TypeError(f"the region {name!r} is no name; YAML takes it for something else without quotes")
    return regions or {}


def _upstream(place: str, url: Any) -> OpenAIUpstream:
    try:
        return OpenAIUpstream(BaseUrl.parse(str(url)))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
