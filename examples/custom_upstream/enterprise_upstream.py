"""An upstream that chooses a region by header, adds a system message to every chat, and redacts answers.

Every region has an OpenAI-compatible API, so an OpenAIUpstream for each builds requests and reads replies; this class
has only what is different. For the methods that it lacks (embeddings, other paths) the proxy's defaults apply.
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
    """The class for `kind: enterprise_upstream:Enterprise`; its arguments are the `options` in the file."""

    def __init__(
        self,
        *,
        base_url: str,
        regions: Mapping[str, str] | None = None,
        context: str = "",
        redact: Sequence[str] = (),
        longest: int = LONGEST,
    ) -> None:
        """`base_url` is for requests without a region, `regions` are base URLs by name; `context` is a system message;
        `redact` are regular expressions, `longest` is the highest number of characters of a match.
        Raises ValueError, TypeError."""
        self._home = _upstream("base_url", base_url)
        self._regions = {name: _upstream(f"region {name!r}", url) for name, url in _check_regions(regions).items()}
        if not isinstance(context, str):
            raise TypeError("`context` must be a string")
        self._context = context
        self._redaction = Redaction.parse(redact, longest)

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Build the request for the caller's region, with the context. Raises BadRequest."""
        return self._region(call.headers).completion_request(with_context(call, self._context))

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion; all regions have the same format."""
        return self._home.read_completion(reply, call)

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        """Read an error; all regions have the same format."""
        return self._home.read_error(status, headers, body)

    def filters(self, call: Call) -> Sequence[Filter]:
        """Return the filter that redacts answers."""
        return (RedactionFilter(self._redaction),)

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Build the request for the models of the caller's region. Raises BadRequest."""
        return self._region(request.headers).model_list_request(request)

    def read_model_list(self, listed: bytes, name: str, created: int) -> Document:
        """Return the list of models as it is."""
        return self._home.read_model_list(listed, name, created)

    def probe_request(self) -> UpstreamRequest:
        """Build the request that checks whether `base_url` can be reached."""
        return self._home.probe_request()

    def _region(self, headers: Headers) -> OpenAIUpstream:
        name = get_header(headers, REGION.lower()).strip()
        if name and name not in self._regions:
            known = ", ".join(sorted(self._regions)) or "none"
            raise BadRequest(f"`{REGION}` is not a known region; known: {known}.", param=REGION, code="unknown_region")
        return self._regions[name] if name else self._home


def with_context(call: Call, context: str) -> Call:
    """Put a system message before a chat, unless it starts with that already; a legacy prompt stays as it is."""
    messages = call.body.get("messages")
    message = {"role": "system", "content": context}
    if not context or not isinstance(messages, list) or messages[:1] == [message]:
        return call
    return call.with_body({**call.body, "messages": [message, *messages]})


def _check_regions(regions: Any) -> Mapping[str, str]:
    if not isinstance(regions or {}, Mapping):
        raise TypeError("`regions` must be a mapping of names to base URLs")
    for name in regions or {}:
        if not isinstance(name, str):
            raise TypeError(f"the region {name!r} is not a string; put it in quotes")
    return regions or {}


def _upstream(place: str, url: Any) -> OpenAIUpstream:
    try:
        return OpenAIUpstream(BaseUrl.parse(str(url)))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
