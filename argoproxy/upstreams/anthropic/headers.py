"""Header fields of Anthropic's API: keys, version and beta features of requests; rate limits and ids of replies.

Sources: Anthropic API reference (Versions, Beta headers, Rate limits); OpenAI's names of rate limits: OpenAI API
reference, Rate limits in headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import mktime_tz, parsedate_tz

from argoproxy.protocol.access.header_rules import request_headers_for_upstream
from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS
from argoproxy.protocol.http_messages import Headers, get_header, without
from argoproxy.upstreams.anthropic.models import parse_time
from argoproxy.upstreams.base import USER_AGENT

VERSION = "2023-06-01"

_VERSION, _BETA, _KEY = "anthropic-version", "anthropic-beta", "x-api-key"
#: Set here, or meant for OpenAI only.
_OWN_HEADERS = frozenset(
    f"content-type content-encoding accept {_VERSION} {_BETA} openai-organization openai-project openai-beta".split()
)
#: Keys of subscriptions, which are accepted as `Authorization: Bearer` only.
_BEARER_KEYS = "sk-ant-oat"
#: OpenAI's names for the rate limits, and Anthropic's.
_LIMITS = {"requests": "requests", "tokens": "tokens"}


def request_headers(headers: Headers, credentials: Headers, beta: str) -> Headers:
    """Return the headers of a request to Anthropic. `credentials` replace the client's, if there are any; a client's
    own beta features are added to the configured ones, and its version is kept."""
    kept = without(request_headers_for_upstream(headers), _OWN_HEADERS)
    if credentials:
        kept = (*without(kept, CREDENTIAL_HEADERS), *credentials)
    betas = [beta, *(value for name, value in headers if name.lower() == _BETA)]
    features = ",".join(filter(None, betas))
    return (
        *kept,
        *(() if get_header(kept, "user-agent") else (("User-Agent", USER_AGENT),)),
        (_VERSION, get_header(headers, _VERSION, VERSION)),
        *(((_BETA, features),) if features else ()),
        ("Accept-Encoding", "identity"),
    )


def with_openai_limits(headers: Headers) -> Headers:
    """Return the headers of a reply with the request id and the rate limits under OpenAI's names too."""
    added = [*_limits_of(headers), ("x-request-id", get_header(headers, "request-id"))]
    known = {name.lower() for name, _ in headers}
    return (*headers, *((name, value) for name, value in added if value and name not in known))


def credentials_of(key: str) -> Headers:
    """Return the header with a key; () for ""."""
    if not key:
        return ()
    return (("Authorization", f"Bearer {key}"),) if key.startswith(_BEARER_KEYS) else ((_KEY, key),)


def convert_credentials(headers: Headers) -> Headers:
    """Return the client's key as Anthropic accepts it, where OpenAI's clients send it in another field. Empty if the
    client sends none, or already as Anthropic's clients do."""
    scheme, _, token = get_header(headers, "authorization").partition(" ")
    if get_header(headers, _KEY) or scheme.lower() != "bearer":
        return ()
    cookies = tuple(field for field in headers if field[0].lower() == "cookie")
    return (*credentials_of(token.strip()), *cookies)


def _limits_of(headers: Headers) -> Iterator[tuple[str, str]]:
    for theirs, ours in _LIMITS.items():
        for value in ("limit", "remaining"):
            yield f"x-ratelimit-{value}-{ours}", get_header(headers, f"anthropic-ratelimit-{theirs}-{value}")
        yield (
            f"x-ratelimit-reset-{ours}",
            _wait_until(get_header(headers, f"anthropic-ratelimit-{theirs}-reset"), headers),
        )


def _wait_until(reset: str, headers: Headers) -> str:
    """Return the time until a limit is reset in OpenAI's form, by the reply's own `Date`; "" if either is missing."""
    end, sent = parse_time(reset), parsedate_tz(get_header(headers, "date"))
    return "" if end is None or sent is None else f"{max(0, end - int(mktime_tz(sent)))}s"
