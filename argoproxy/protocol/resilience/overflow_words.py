"""How servers say that a prompt is too long for the model: their codes and their words.

OpenAI's 429 "Request too large … tokens per min" is a rate limit and is not meant here.
"""

from __future__ import annotations

import re

from argoproxy.protocol.json_text import Json, as_text

#: OpenAI, Groq, DeepSeek and others; llama.cpp (as `type`); GitHub Copilot.
_CODES = frozenset(("context_length_exceeded", "exceed_context_size_error", "model_max_prompt_tokens_exceeded"))

_WORDS = re.compile(
    r"maximum context length"  # OpenAI, vLLM, SGLang, OpenRouter, DeepSeek, Mistral ("32768 maximum context length")
    r"|context[_ ]length[_ ]exceeded"
    r"|exceeds? the context window"  # OpenAI's Responses
    r"|longer than the maximum model length"  # vLLM: "The decoder prompt (length 5000) is longer than …"
    r"|exceeds? the available context size|context size has been exceeded"  # llama.cpp
    r"|exceed context window of"  # llama-cpp-python
    r"|exceeds? (?:the |maximum )?context length|exceeded max context length"  # Ollama
    r"|greater than the context length"  # LM Studio
    r"|longer than the model's context length|\(\d+ tokens\) exceeds the maximum allowed length"  # SGLang
    r"|prompt is too long|exceed context limit"  # Anthropic; Fireworks
    r"|range of input length should be"  # DashScope
    r"|input token count.{0,40} exceeds the maximum"  # Gemini
    r"|maximum prompt length is \d"  # xAI
    r"|reduce the length of the messages"  # OpenAI, Groq
    r"|tokens['`]* \+ ['`]*max_new_tokens['`]* must be"  # TGI, Together
    r"|input is too long for requested model"  # Bedrock
    r"|context window exceeds limit|exceeded model token limit",  # MiniMax, Kimi
    re.IGNORECASE,
)
#: A longer message quotes the prompt.
_LONGEST_MESSAGE = 10_000


def says_prompt_is_too_long(error: Json) -> bool:
    """Return whether an error object says so, with its code, its type or its message."""
    if _CODES & {as_text(error.get("code")), as_text(error.get("type"))}:
        return True
    return bool(_WORDS.search(as_text(error.get("message"))[:_LONGEST_MESSAGE]))
