"""Which APIs a server has beside chats, and so which clients can work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from argoproxy.cli.doctor.judge.chat_verdicts import (
    judge_flow,
    judge_models,
    judge_stream,
    judge_tools,
    judge_whole,
)
from argoproxy.cli.doctor.judge.findings import Check, Finding, Status, pass_check
from argoproxy.cli.doctor.judge.observations import NO_PATH, HttpAnswer, UpstreamFacts
from argoproxy.cli.doctor.judge.server_verdicts import judge_auth, judge_dns, judge_http, judge_tcp, judge_tls
from argoproxy.cli.doctor.judge.thought_verdicts import judge_thoughts

COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
#: The texts for a path that a server has, and of one that it does not have.
_TEXTS = {
    COMPLETIONS: ("served", "the server has none; clients of legacy completions can't work"),
    EMBEDDINGS: ("served", "the server has none; clients need another upstream for them"),
    RESPONSES: (
        "the server has them; requests are {forwarded}",
        "converted to chats: Codex and the Agents SDK can work",
    ),
    MESSAGES: (
        "the server has them; requests are converted to chats all the same, unless its kind is `anthropic`",
        "converted to chats: Claude Code can work",
    ),
}


def is_served(answer: HttpAnswer) -> bool:
    """Return whether an empty request was refused for its content, not for its path."""
    return bool(answer.status) and answer.status not in NO_PATH and not answer.is_html


def surface_judge(code: str, path: str) -> Callable[[UpstreamFacts], Finding | None]:
    """Return the verdict over one path."""

    def judge(facts: UpstreamFacts) -> Finding | None:
        answer = facts.surfaces.get(path)
        if answer is None:
            return None
        has_it, evidence = is_served(answer), {"url": answer.url, "status": answer.status}
        if facts.is_passthrough:
            text = "served, and passed on unchanged" if has_it else "the server has none, and native mode converts none"
            return Finding(code, Status.INFO, text, evidence=evidence)
        if code == "responses" and facts.forwards_responses and not has_it:
            text = "RESPONSES=forward, but the server has no Responses API: Codex can't work"
            return Finding(code, Status.WARN, text, "RESPONSES=auto", evidence)
        text = _TEXTS[path][not has_it].format(forwarded="forwarded, unless RESPONSES=convert")
        return pass_check(code, text, **evidence) if has_it else Finding(code, Status.INFO, text, evidence=evidence)

    return judge


def judge_clients(facts: UpstreamFacts) -> Finding | None:
    """Say which kinds of clients can work with what was seen."""
    if facts.stream is None or facts.tools is None or not facts.stream.is_answered:
        return None
    if facts.tools.tools:
        text = "chat clients, coding agents, Codex (responses) and Claude Code (messages) can work"
        return Finding("clients", Status.INFO, text)
    return Finding("clients", Status.INFO, "chat clients can work; coding agents can't without calls of tools")


_CHAT = ("chat.whole",)
UPSTREAM_CHECKS: Sequence[Check[UpstreamFacts]] = (
    Check("dns", (), judge_dns),
    Check("tcp", ("dns",), judge_tcp),
    Check("tls", ("tcp", "dns"), judge_tls),
    Check("http", ("tls", "tcp", "dns"), judge_http),
    Check("auth", ("http", "tls", "tcp", "dns"), judge_auth),
    Check("models", ("auth", "http", "tls", "tcp", "dns"), judge_models),
    Check("chat.whole", ("auth", "http", "tls", "tcp", "dns"), judge_whole),
    Check("chat.stream", _CHAT, judge_stream),
    Check("stream.flows", ("chat.stream", *_CHAT), judge_flow),
    Check("thoughts", _CHAT, judge_thoughts),
    Check("tools", _CHAT, judge_tools),
    Check("completions", ("auth", "http", "tls", "tcp", "dns"), surface_judge("completions", COMPLETIONS)),
    Check("embeddings", ("auth", "http", "tls", "tcp", "dns"), surface_judge("embeddings", EMBEDDINGS)),
    Check("responses", ("auth", "http", "tls", "tcp", "dns"), surface_judge("responses", RESPONSES)),
    Check("messages", ("auth", "http", "tls", "tcp", "dns"), surface_judge("messages", MESSAGES)),
    Check("clients", ("tools", *_CHAT), judge_clients),
)
