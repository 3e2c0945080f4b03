"""Where a model puts its thoughts, and which line of the settings fits that."""

from __future__ import annotations

from argoproxy.cli.doctor.judge.findings import Finding, Status, pass_check
from argoproxy.cli.doctor.judge.observations import Chat, UpstreamFacts
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings, TagPair

#: Spellings of tags that models use.
KNOWN_TAGS = (
    TagPair("<think>", "</think>"),
    TagPair("<thinking>", "</thinking>"),
    TagPair("<thought>", "</thought>"),
    TagPair("<reasoning>", "</reasoning>"),
    TagPair("[THINK]", "[/THINK]"),
    TagPair("◁think▷", "◁/think▷"),
    TagPair("<seed:think>", "</seed:think>"),
    TagPair("<|begin_of_thought|>", "<|end_of_thought|>"),
)
_BETWEEN_TAGS = {
    None: "they are removed",
    Reasoning.STRIP: "they are removed",
    Reasoning.KEEP: "they are kept, as the settings say",
    Reasoning.FIELD: "they are moved to a field",
    Reasoning.TAGS: "they are kept between tags",
}
_IN_FIELD = {
    None: "clients get them there; `reasoning: strip` would remove them",
    Reasoning.STRIP: "they are removed",
    Reasoning.KEEP: "clients get them there, as the settings say",
    Reasoning.FIELD: "clients get them in a field",
    Reasoning.TAGS: "they are moved into the text, between tags",
}


def judge_thoughts(facts: UpstreamFacts) -> Finding | None:
    """Say where thoughts come, what becomes of them, and which setting is missing."""
    chats = [chat for chat in (facts.stream, facts.whole) if chat and chat.is_answered]
    if not chats:
        return None
    findings = [finding for chat in chats if (finding := _judge_chat(chat, facts))]
    worst = next((finding for finding in findings if finding.status is Status.WARN), None)
    return worst or next(iter(findings), pass_check("thoughts", "none were seen"))


def _judge_chat(chat: Chat, facts: UpstreamFacts) -> Finding | None:
    """Return where the thoughts of one answer are; None if there are none."""
    if name := next((name for name, text in chat.thoughts.items() if text), ""):
        text = f"thoughts come in the field `{name}`; {_fate(_IN_FIELD, facts)}"
        return Finding("thoughts", Status.INFO, text, evidence={"field": name, "begin": chat.thoughts[name][:60]})
    settings, content = facts.reasoning, chat.content
    pairs = dict.fromkeys((*settings.tags, *KNOWN_TAGS))
    opened = next((pair for pair in pairs if pair.start in content), None)
    if opened:
        return _judge_tags(opened, content, facts)
    closed = next((pair for pair in pairs if pair.end in content), None)
    return _judge_unopened(closed, content, facts) if closed else None


def _judge_tags(pair: TagPair, content: str, facts: UpstreamFacts) -> Finding:
    evidence = {"tags": [pair.start, pair.end], "begin": content[:60]}
    if pair in facts.reasoning.tags or facts.is_passthrough:
        text = f"thoughts come in the text, between {pair.start} and {pair.end}; {_fate(_BETWEEN_TAGS, facts)}"
        return Finding("thoughts", Status.INFO, text, evidence=evidence)
    text = f"thoughts come in the text between {pair.start} and {pair.end}, which the settings do not name"
    fix = f"THINK_TAG={pair.start} THINK_END_TAG={pair.end}; for this model alone, {_rule(facts, tag_keys(pair))}"
    return Finding("thoughts", Status.WARN, text, fix, evidence)


def tag_keys(pair: TagPair) -> str:
    """Return the keys of a rule that names a pair of tags."""
    return f'think_tag_start: "{pair.start}", think_tag_end: "{pair.end}"'


def _judge_unopened(pair: TagPair, content: str, facts: UpstreamFacts) -> Finding:
    settings = facts.reasoning
    evidence = {"tags": [pair.start, pair.end], "begin": content[:60]}
    is_handled = settings.opening is not Opening.CLOSED and pair in settings.tags
    if is_handled or _is_left_alone(settings) or facts.is_passthrough:
        text = f"thoughts come in the text up to {pair.end}, without an opening tag; {_fate(_BETWEEN_TAGS, facts)}"
        return Finding("thoughts", Status.INFO, text, evidence=evidence)
    text = f"thoughts come in the text without an opening tag, only {pair.end} closes them: clients get them all"
    keys = "think_starts_open: true" if pair in settings.tags else f"think_starts_open: true, {tag_keys(pair)}"
    fix = f"{_rule(facts, keys)}; for models of both kinds, THINK_STARTS_OPEN=auto"
    return Finding("thoughts", Status.WARN, text, fix, evidence)


def _is_left_alone(settings: ReasoningSettings) -> bool:
    return settings.policy is Reasoning.KEEP


def _fate(texts: dict[Reasoning | None, str], facts: UpstreamFacts) -> str:
    return "nothing is changed in native mode" if facts.is_passthrough else texts[facts.reasoning.policy]


def _rule(facts: UpstreamFacts, keys: str) -> str:
    return f'models: {{"{facts.model}": {{{keys}}}}}'
