"""Verdicts over an upstream's models, chats and streams."""

from __future__ import annotations

import difflib

from argoproxy.cli.doctor.judge.findings import Finding, Status, pass_check, skip
from argoproxy.cli.doctor.judge.observations import Chat, HttpAnswer, UpstreamFacts
from argoproxy.cli.doctor.judge.products import Product, product_of, tools_hint

NO_CHAT = "no chat was asked (--no-chat)"
NO_MODEL = "no model is known: name one with --model"
#: A stream of fewer events, or one that took less time, is too short to tell whether it was held back.
FEW_EVENTS = 8
SHORT_S = 0.5
#: Reads that are closer to each other are one burst.
BURST_S = 0.02
#: Headers that show what is between doctor and the server.
BETWEEN = ("server", "via", "x-cache", "cf-ray", "content-encoding", "x-accel-buffering", "x-powered-by")


def judge_models(facts: UpstreamFacts) -> Finding | None:
    """Say which models are listed, and whether those that rules name are among them."""
    if not facts.has_model_list or facts.listing is None:
        return None
    if not facts.listing.lists_models:
        text = f"no list of models ({facts.listing.status} from {facts.listing.url})"
        return Finding("models", Status.INFO, text, "", {"status": facts.listing.status})
    evidence = {"count": len(facts.models), "models": list(facts.models[:20])}
    missing = [name for name in facts.named_models if name not in facts.models]
    if missing and facts.models:
        near = difflib.get_close_matches(missing[0], facts.models, 1, 0.3)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(facts.models[:3])}"
        text = f"the model {missing[0]!r} of the settings is not in its list{hint}"
        return Finding("models", Status.WARN, text, "correct the model's name in the settings", evidence)
    if not facts.models:
        return Finding("models", Status.WARN, "its list of models is empty", "load a model on the server", evidence)
    more = f" and {len(facts.models) - 3} more" if len(facts.models) > 3 else ""
    return pass_check("models", f"{', '.join(facts.models[:3])}{more}", **evidence)


def judge_whole(facts: UpstreamFacts) -> Finding | None:
    """Say whether the model answers a chat."""
    chat = facts.whole
    if chat is None:
        return _not_asked("chat.whole", facts)
    if chat.is_answered:
        usage = "" if chat.has_usage else ", without usage"
        evidence = {"model": facts.model, "finish_reason": chat.finish, "ms": chat.answer.ms}
        return pass_check("chat.whole", f"{facts.model} answers in {chat.answer.ms:.0f} ms{usage}", **evidence)
    if _only_streams(chat) and facts.stream and facts.stream.is_answered:
        text = f"{facts.model} only answers as a stream: {chat.problem}"
        return Finding("chat.whole", Status.WARN, text, facts.set_option("mode", "stream", "MODE"))
    return _failed_chat("chat.whole", f"{facts.model} does not answer a chat", chat, facts)


def _only_streams(chat: Chat) -> bool:
    return chat.answer.status in (400, 422) and "stream" in chat.problem.lower()


def _not_asked(code: str, facts: UpstreamFacts) -> Finding:
    return skip(code, NO_CHAT if facts.asks_no_chat else NO_MODEL)


def _failed_chat(code: str, text: str, chat: Chat, facts: UpstreamFacts) -> Finding:
    answer = chat.answer
    status = f"{answer.status}: " if answer.status >= 300 else ""
    evidence = {"model": facts.model, "url": answer.url, "status": answer.status, "message": chat.problem}
    return Finding(code, Status.FAIL, f"{text}: {status}{chat.problem}", _chat_fix(answer, chat, facts), evidence)


def _chat_fix(answer: HttpAnswer, chat: Chat, facts: UpstreamFacts) -> str:
    said = chat.problem.lower()
    if answer.status == 429:
        return "wait, or raise the quota of this key"
    if answer.status in (400, 404) and "model" in said:
        others = f", such as {facts.models[0]}" if facts.models and facts.models[0] != facts.model else ""
        return f"name a model that the server has{others}: --model, DEFAULT_MODEL or the rules"
    if answer.failure in ("first_byte_timeout", "total_timeout", "idle_timeout", "upstream_timeout"):
        return "see whether the server is loading the model or busy; --patience 300 waits longer"
    if answer.status >= 500 or not answer.status:
        return "see the server's log"
    return "see the message"


def judge_stream(facts: UpstreamFacts) -> Finding | None:
    """Say whether the model answers a request for a stream with one."""
    chat = facts.stream
    if chat is None:
        return _not_asked("chat.stream", facts)
    evidence = {"model": facts.model, "events": chat.events, "finish_reason": chat.finish, "ms": chat.answer.ms}
    mode = facts.set_option("mode", "non_stream", "MODE")
    if not chat.is_answered and chat.answer.status in (400, 422) and "stream" in chat.problem.lower():
        text = f"the server of {facts.url} does not stream: {chat.problem}"
        return Finding("chat.stream", Status.WARN, text, mode, evidence)
    if not chat.is_answered:
        return _failed_chat("chat.stream", f"{facts.model} does not answer as a stream", chat, facts)
    if facts.is_stream_off and not chat.is_stream:
        return pass_check("chat.stream", "answered whole, as `mode: non_stream` wants it", **evidence)
    if not chat.is_stream:
        text = f"the server of {facts.url} does not stream: it answers with a whole document, all words at once"
        return Finding("chat.stream", Status.WARN, text, f"switch streams on in the server, or set {mode}", evidence)
    if not chat.finish and not chat.is_cut:
        text = "the stream ends without a finish reason"
        return Finding("chat.stream", Status.WARN, text, "see the server's log", evidence)
    first = chat.arrivals[0][0] * 1000 if chat.arrivals else chat.answer.ms
    return pass_check("chat.stream", f"first event after {first:.0f} ms, {chat.events} events", **evidence)


def judge_flow(facts: UpstreamFacts) -> Finding | None:
    """Say whether something holds the stream back between the server and the proxy."""
    chat = facts.stream
    if chat is None or not chat.is_answered or not chat.is_stream:
        return None
    bursts = count_bursts(chat)
    evidence = describe_flow(chat)
    if not is_held_back(chat):
        if is_short(chat):
            return pass_check("stream.flows", "too short a stream to tell; nothing odd was seen", **evidence)
        return pass_check("stream.flows", f"events come one by one, in {bursts} bursts", **evidence)
    total_s = chat.arrivals[-1][0]
    product = product_of(facts.answers, facts.models)
    text = (
        f"something between the model and this proxy holds the stream back: {chat.events} events came at once, "
        f"after {total_s:.1f} s{_between(chat.answer)}"
    )
    return Finding("stream.flows", Status.WARN, text, flow_fix(chat.answer, product), evidence)


def count_bursts(chat: Chat) -> int:
    """Return how many times something arrived, with pauses between."""
    times = [at_s for at_s, _ in chat.arrivals]
    return sum(1 for before, at_s in zip([-1.0, *times], times, strict=False) if at_s - before > BURST_S)


def is_short(chat: Chat) -> bool:
    """Return whether a stream is too short to tell whether it was held back."""
    total_s = chat.arrivals[-1][0] if chat.arrivals else 0.0
    return chat.events < FEW_EVENTS or total_s < SHORT_S


def is_held_back(chat: Chat) -> bool:
    """Return whether the events of a stream that took its time came at its end, many in one read. A fast model sends
    them at its end too, but each by itself."""
    if is_short(chat):
        return False
    first_s, total_s = chat.arrivals[0][0], chat.arrivals[-1][0]
    is_late = count_bursts(chat) <= 2 and first_s > 0.8 * total_s
    return is_late and len(chat.arrivals) <= max(2, chat.events // 4)


def describe_flow(chat: Chat) -> dict[str, object]:
    """Return what a verdict about the flow of a stream rests on."""
    between = {name: value for name in BETWEEN if (value := chat.answer.header(name))}
    times = [round(at_s, 3) for at_s, _ in chat.arrivals]
    first, last = (times[0], times[-1]) if times else (0.0, 0.0)
    return {"events": chat.events, "reads": len(times), "first_s": first, "last_s": last, "headers": between}


def _between(answer: HttpAnswer) -> str:
    shown = [f"{name}: {answer.header(name)}" for name in ("server", "via", "cf-ray") if answer.header(name)]
    return f" ({', '.join(shown)})" if shown else ""


def flow_fix(answer: HttpAnswer, product: Product | None = None) -> str:
    """Return what makes the products that headers show pass streams on."""
    server, via = answer.header("server").lower(), answer.header("via").lower()
    if answer.header("content-encoding"):
        return "switch compression off there for text/event-stream"
    if "nginx" in server or "nginx" in via or "openresty" in server:
        return "nginx: `proxy_buffering off;` in the location of the API"
    if answer.header("cf-ray") or "cloudflare" in server:
        return "Cloudflare: a rule without buffering and compression for this path, or its DNS entry without the proxy"
    if "apache" in server:
        return "Apache: `ProxyPass … flushpackets=on`, and no mod_deflate for text/event-stream"
    behind = f" in front of {product.title}" if product else ""
    return (
        f"switch buffering off in what stands{behind}: a reverse proxy, a gateway; or the server only seems to stream"
    )


def judge_tools(facts: UpstreamFacts) -> Finding | None:
    """Say whether the model calls tools, which coding agents need."""
    chat = facts.tools
    if chat is None:
        return _not_asked("tools", facts)
    evidence = {"model": facts.model, "status": chat.answer.status, "message": chat.problem}
    if chat.tools:
        return pass_check("tools", f"{facts.model} calls the function", **evidence)
    if facts.kind == "demo":
        return Finding("tools", Status.INFO, "the demo calls no functions", evidence=evidence)
    hint = tools_hint(product_of(facts.answers, facts.models), chat.problem)
    if chat.is_answered:
        text = f"{facts.model} answers in words although a call of a function was required; coding agents need calls"
        return Finding("tools", Status.WARN, text, hint, evidence)
    text = f"the server of {facts.url} does not support tools ({chat.answer.status}): {chat.problem}"
    return Finding("tools", Status.WARN, text, hint, evidence)
