"""Verdicts over a running proxy, and over what is asked through it."""

from __future__ import annotations

from collections.abc import Sequence

from argoproxy.cli.doctor.judge.chat_verdicts import count_bursts, describe_flow, flow_fix, is_held_back, is_short
from argoproxy.cli.doctor.judge.findings import Check, Finding, Status, pass_check, skip
from argoproxy.cli.doctor.judge.observations import DENIED, ProxyFacts
from argoproxy.protocol.json_text import as_dict, as_text

RUNNING = "the running proxy"


def judge_running(facts: ProxyFacts) -> Finding:
    """Say whether a proxy answers."""
    live = facts.live
    if live is None or live.failure:
        text = f"no proxy answers at {facts.url}"
        if not facts.is_asked:
            return Finding("proxy.running", Status.INFO, text + " yet", blocks=True)
        reason = live.reason or live.failure if live else ""
        return Finding("proxy.running", Status.FAIL, f"{text}: {reason}", "start it, or correct --through")
    if as_text((live.document or {}).get("status")) not in ("alive", "draining"):
        text = f"what answers at {facts.url} is not argoproxy ({live.status} from /health/live)"
        fix = "pass /health/live on to it" if facts.is_asked else "choose another PORT"
        return Finding("proxy.running", Status.FAIL if facts.is_asked else Status.WARN, text, fix, blocks=True)
    process = f" (process {facts.pid})" if facts.pid else ""
    return pass_check("proxy.running", f"serves at {facts.url}{process}", pid=facts.pid)


def judge_version(facts: ProxyFacts) -> Finding:
    """Compare its version with that of this program."""
    running = as_text(((facts.live and facts.live.document) or {}).get("version"))
    if running and running != facts.version:
        text = f"it runs version {running}, and this is {facts.version}"
        return Finding("proxy.version", Status.WARN, text, "restart it", {"running": running})
    return pass_check("proxy.version", running or "unknown")


def judge_health(facts: ProxyFacts) -> Finding | None:
    """Say whether it reaches its upstreams."""
    if facts.health is None:
        return None
    document = facts.health.document or {}
    if facts.health.status == 200:
        return pass_check("proxy.health", "it reaches its upstream")
    error = as_text(as_dict(document.get("target")).get("error")) or as_text(document.get("status"))
    text = f"/health says {facts.health.status}: {error or facts.health.message or facts.health.failure}"
    return Finding("proxy.health", Status.WARN, text, "see the checks of the upstream", {"health": document})


def judge_stale(facts: ProxyFacts) -> Finding | None:
    """Say whether it runs with other settings than those that were read now."""
    if facts.pid is None:
        return None
    if facts.stale:
        text = f"it runs with other settings than those read here: {', '.join(facts.stale[:5])}"
        fix = "reload it (argoproxy reload), or restart it for settings of the server"
        return Finding("proxy.settings", Status.WARN, text, fix, {"differ": list(facts.stale)})
    return pass_check("proxy.settings", "it runs with these settings")


def judge_through_auth(facts: ProxyFacts) -> Finding | None:
    """Say whether it accepts the key that its clients use."""
    if facts.models is None:
        return None
    if facts.models.status in DENIED:
        text = f"{facts.url} refuses the key ({facts.models.status}): {facts.models.message}"
        return Finding("through.models", Status.FAIL, text, "API_KEY_SECRET here must hold a key of that proxy")
    if not facts.models.lists_models:
        state = facts.models.status or facts.models.reason or facts.models.failure
        text = f"{facts.models.url} does not list models ({state})"
        return Finding("through.models", Status.WARN, text, "see the checks of the upstream")
    return pass_check("through.models", f"lists models at {facts.models.url}")


def judge_through_chat(facts: ProxyFacts) -> Finding | None:
    """Say whether a stream comes through it."""
    if not facts.is_asked:
        return None
    chat = facts.chat
    if chat is None:
        return skip("through.stream", "no chat was asked")
    if not chat.is_answered:
        status = f"{chat.answer.status}: " if chat.answer.status >= 300 else ""
        text = f"{facts.model} does not answer through {facts.url}: {status}{chat.problem}"
        return Finding("through.stream", Status.FAIL, text, "see its log: the line with this request's id")
    return pass_check("through.stream", f"{facts.model} answers, {chat.events} events")


def judge_through_flow(facts: ProxyFacts) -> Finding | None:
    """Say on which side of the proxy a stream is held back."""
    chat = facts.chat
    if chat is None or not chat.is_answered or not chat.is_stream:
        return None
    evidence = describe_flow(chat)
    if not is_held_back(chat):
        text = "too short a stream to tell" if is_short(chat) else f"events come in {count_bursts(chat)} bursts"
        return pass_check("through.flows", text, **evidence)
    if facts.direct and is_held_back(facts.direct):
        text = "the stream is held back before it reaches the proxy, not between it and its clients"
        return Finding("through.flows", Status.INFO, text, evidence=evidence)
    text = f"something between the proxy and its clients holds the stream back at {facts.url}"
    return Finding("through.flows", Status.WARN, text, flow_fix(chat.answer), evidence)


PROXY_CHECKS: Sequence[Check[ProxyFacts]] = (
    Check("proxy.running", (), judge_running),
    Check("proxy.version", ("proxy.running",), judge_version),
    Check("proxy.health", ("proxy.running",), judge_health),
    Check("proxy.settings", ("proxy.running",), judge_stale),
    Check("through.models", ("proxy.running",), judge_through_auth),
    Check("through.stream", ("through.models", "proxy.running"), judge_through_chat),
    Check("through.flows", ("through.stream", "through.models", "proxy.running"), judge_through_flow),
)
