"""An estimate of the tokens of a request's prompt, in whichever API it is, before its upstream has counted them.

About four bytes of text are a token in English and in code. All that goes to the model is counted: texts, thoughts,
tools, their calls and results. Other parts have a usual size, whatever theirs is.
"""

from __future__ import annotations

from argoproxy.protocol.json_text import Json

BYTES_A_TOKEN = 4
#: Anthropic's documentation on vision: width x height / 750, for about 1000 x 1200 pixels; OpenAI's are cheaper.
PART_TOKENS = 1600
#: What a template puts around each message, tool or part, and before all of them: more than any that is known.
OBJECT_TOKENS, TEMPLATE_TOKENS = 8, 128
#: The fields of a request that go to the model, in all APIs.
_PROMPT_FIELDS = (
    "messages",
    "prompt",
    "input",
    "instructions",
    "system",
    "tools",
    "functions",
    "response_format",
    "suffix",
)
_FILES = frozenset(
    ("image_url", "input_image", "image", "input_audio", "audio", "file", "input_file", "document", "video_url")
)


def estimate_prompt(body: Json) -> int:
    """Return about how many tokens the prompt of a request has."""
    size, tokens, _ = _measure(body)
    return tokens - (-size // BYTES_A_TOKEN)


def bound_prompt(body: Json) -> int:
    """Return how many tokens the texts of a request's prompt can have at most: no tokenizer makes more of them than
    they have bytes. Pictures and files have their usual size."""
    size, tokens, objects = _measure(body)
    return size + tokens + objects * OBJECT_TOKENS + TEMPLATE_TOKENS


def _measure(body: Json) -> tuple[int, int, int]:
    """Return the bytes of the texts of a prompt, the tokens of its other parts, and how many objects it has."""
    waiting = [body[name] for name in _PROMPT_FIELDS if name in body]
    size = tokens = objects = 0
    # Values may be nested as deeply as JSON can be, too deeply for functions that call themselves.
    while waiting:
        value = waiting.pop()
        form = type(value)
        if form is str:
            size += len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        elif form is dict:
            objects += 1
            if "type" in value and type(value["type"]) is str and value["type"] in _FILES:
                tokens += PART_TOKENS
            else:
                waiting += value.values()
        elif form is list:
            waiting += value
        else:
            tokens += 1  # of a prompt in tokens; few numbers are anything else
    return size, tokens, objects
