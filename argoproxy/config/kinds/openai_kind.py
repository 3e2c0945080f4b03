"""Kind `openai`: an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from argoproxy.config.kinds.target import SERVER_OPTIONS, Target, required_url
from argoproxy.config.options.declaration import Parser
from argoproxy.config.options.parsers import parse_boolean, parse_responses
from argoproxy.config.values.section import Section
from argoproxy.protocol.access.secrets import (
    Secret,
    credentials_in_query,
    encode_basic,
    secrets_in_header,
    secrets_in_query,
)
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.openai import OpenAIUpstream, ResponsesApi


@dataclass(frozen=True, slots=True)
class OpenAITarget(Target):
    """An OpenAI-compatible server; `authorization` is the header that it is sent, `secret` the key or the password in
    it. Replies of a passthrough server are not changed."""

    kind: ClassVar[str] = "openai"
    options: ClassVar[Mapping[str, Parser]] = {**SERVER_OPTIONS, "native": parse_boolean, "responses": parse_responses}

    base: BaseUrl
    authorization: Secret = Secret("")
    secret: Secret = Secret("")
    is_passthrough: bool = False
    responses: ResponsesApi = ResponsesApi.AUTO

    @classmethod
    def parse(cls, section: Section, options: Mapping[str, Any]) -> Target:
        """Return the server at `base_url`."""
        target = cls.at(required_url(section, options), options.get("api_key", ""))
        responses = options.get("responses", ResponsesApi.AUTO)
        return replace(target, is_passthrough=options.get("native", False), responses=responses)

    @classmethod
    def at(cls, url: str, key: str) -> OpenAITarget:
        """Return a server that is asked with a key, or with the credentials in its URL, before the host or in the
        query."""
        base, parts = BaseUrl.parse(url), urlsplit(url)
        if key:
            return cls(base, Secret(f"Bearer {key}"), Secret(key))
        if parts.username is None:
            return cls(base, secret=Secret(next(credentials_in_query(base.query), "")))
        encoded = encode_basic(url)
        return cls(base, Secret(f"Basic {encoded}"), Secret(encoded))

    def adapter(self, name: str) -> Upstream:
        """Return the adapter of OpenAI's API."""
        secret = self.secret.text.encode()
        return OpenAIUpstream(
            self.base,
            self.authorization.text,
            secret,
            name,
            is_passthrough=self.is_passthrough,
            responses=self.responses,
        )

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.base.root

    @property
    def description(self) -> str:
        """How the log of the start names it."""
        return f"{self.url}, native" if self.is_passthrough else self.url

    def secrets(self) -> Iterator[str]:
        """Yield its key, the password in its URL, and parameters of this with secret names."""
        yield from (key.text for key in self.keys)
        yield from secrets_in_header("authorization", self.authorization.text)
        yield from secrets_in_query(self.base.query)

    @property
    def keys(self) -> tuple[Secret, ...]:
        """The key, or the credentials of its URL."""
        return (self.secret,) if self.secret.text else ()
