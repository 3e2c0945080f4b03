"""Servers as settings name them: by a URL, with credentials in it or a key beside it."""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import unquote, urlsplit

from argoproxy.config.kinds.targets import OpenAITarget
from argoproxy.config.values.layers import Given
from argoproxy.protocol.access.secrets import Secret, credentials_in
from argoproxy.upstreams.base_url import BaseUrl

_LOOPBACK = re.compile(r"localhost|127(?:\.\d+){3}|::1|0\.0\.0\.0|::")


def server_at(url: str, key: str) -> OpenAITarget:
    """Describe an OpenAI-compatible server, asked with a key, or with the credentials that its URL holds, before
    its host or in its query."""
    base, parts = BaseUrl.parse(url), urlsplit(url)
    if key:
        return OpenAITarget(base, Secret(f"Bearer {key}"), Secret(key))
    if parts.username is None:
        return OpenAITarget(base, secret=Secret(next(credentials_in(base.query), "")))
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    encoded = b64encode(credentials.encode()).decode()
    return OpenAITarget(base, Secret(f"Basic {encoded}"), Secret(encoded))


def refuse_itself(url: str, given: Given) -> None:
    """Add a mistake where a URL is that of this very proxy."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if port == given["port"] and _LOOPBACK.fullmatch(parts.hostname or ""):
        given.mistakes.append(f"the upstream {BaseUrl.parse(url).root!r} is this very proxy; name another one")
