"""What may be meant where the settings do not tell: other base URLs, and a model to ask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

#: Where providers and servers have their API: OpenRouter, Open WebUI; Groq, Azure, LocalAI; DashScope; Fireworks;
#: Volcano; Gemini.
USUAL_PATHS = ("/v1", "/api/v1", "/openai/v1", "/compatible-mode/v1", "/inference/v1", "/api/v3", "/v1beta/openai")
MOST_BASES = 12

_NO_CHAT_MODEL = re.compile(
    r"embed|rerank|whisper|tts|dall-e|image|moderation|transcri|speech|realtime|audio|bge-|e5-|babbage|davinci|sora|ocr",
    re.IGNORECASE,
)
#: Words in the names of models that cost little.
_SMALL = re.compile(r"nano|mini\b|mini-|flash|haiku|lite|small|turbo|\b[0-9]b\b", re.IGNORECASE)


def likely_bases(url: str) -> Sequence[str]:
    """Return other base URLs of the same server that may be meant, the likeliest first."""
    parts = urlsplit(url)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    bases = dict.fromkeys(f"{origin}{one}" for one in _paths(path) if one != path)
    return list(bases)[:MOST_BASES]


def _paths(path: str) -> Iterator[str]:
    """Yield paths: without a doubled `/v1`, with one at the end of it and of each path above, then the usual ones."""
    undoubled = re.sub(r"(?:/v1){2,}", "/v1", path)
    yield undoubled
    segments = undoubled.split("/")[1:]
    for count in range(len(segments), 0, -1):
        above = "/" + "/".join(segments[:count])
        yield above if above.endswith("/v1") else f"{above}/v1"
    yield from USUAL_PATHS


def pick_model(listed: Sequence[str], named: Sequence[str], sample: str) -> str:
    """Return a model for a short chat: one that the settings name, else the sample of its kind, else one of the list,
    a small one first; "" if none is known."""
    chats = [name for name in listed if not _NO_CHAT_MODEL.search(name)]
    known = next((name for name in named if not listed or name in listed), "")
    small = next((name for name in chats if _SMALL.search(name)), "")
    return known or sample or small or next(iter(chats), "")
