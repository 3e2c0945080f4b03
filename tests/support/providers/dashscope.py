"""DashScope's native API as far as it is known: what it takes, refuses and answers. Part of the scripted upstream.

Words in the user's text steer it: `fail:CODE:STATUS` refuses, `fail:CODE:200` does so under a status of success,
`break:CODE` fails in the midst of a stream, `cut` ends one too soon, `rewrite` says something else than before,
`cumulative` repeats the whole text whatever was asked, `as json` and `as events` answer in the other form. A request
whose body holds `script:NAME` gets that script played instead. Sources: "DashScope API reference" and "Error
messages", Alibaba Cloud Model Studio, 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

ROOT = "/api/v1/services/"
TEXT = f"{ROOT}aigc/text-generation/generation"
MULTIMODAL = f"{ROOT}aigc/multimodal-generation/generation"
EMBEDDINGS = f"{ROOT}embeddings/text-embedding/text-embedding"
REQUEST_ID = "8f2e-77"

STATUSES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}
ONLY_STREAMED = re.compile(r"qwq|qvq|.*omni")
SEES = re.compile(r".*-vl|qvq|.*omni|qwen3\.[5-9]")
URL_ERROR = (
    "url error, please check url\uff01 For details, see: https://help.aliyun.com/zh/model-studio/error-code#error-url"
)
NO_THINKING = "parameter.enable_thinking must be set to false for non-streaming calls"
STREAM_ONLY = "This model only support stream mode, please enable the stream parameter to access the model. "
MUST_BE_INCREMENTAL = 'The incremental_output parameter must be "true" when enable_thinking is true'
NO_CHOICE = "The tool_choice parameter does not support being set to required or object in thinking mode"
SEARCHED = {"search_results": [{"index": 1, "title": "T", "url": "https://t", "site_name": "S", "icon": ""}]}
ROWS = {"text-embedding-v1": 25, "text-embedding-v2": 25}
MOST_SAID = 12

Json = dict[str, Any]


class Refused(Exception):
    """An error, as DashScope has them."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.status = status
        self.told = {"code": code, "message": message, "request_id": REQUEST_ID}


def answer(wire: Any, seen: Json) -> None:
    """Answer one request."""
    headers = {name.lower(): value for name, value in seen["headers"]}
    streamed = headers.get("x-dashscope-sse") == "enable"
    try:
        path = checked_path(seen)
        check_headers(headers)
        asked = checked_body(seen["body"].encode("latin-1"))
        if path == EMBEDDINGS:
            wire.json(embedded(asked))
        else:
            check_generation(asked, path, streamed)
            talk(wire, asked, path, streamed)
    except Refused as refused:
        if streamed and refused.status != 401:
            told = frame(1, refused.told, f"{refused.status}", "error")
            events(wire, [told], f"{refused.status} {STATUSES.get(refused.status, 'Error')}")
        else:
            wire.json(refused.told, f"{refused.status} {STATUSES.get(refused.status, 'Error')}")


def checked_path(seen: Json) -> str:
    path: str = seen["target"].partition("?")[0]
    if path not in (TEXT, MULTIMODAL, EMBEDDINGS):
        raise Refused("NotFound", "The requested resource does not exist.", 404)
    if seen["method"] != "POST":
        raise Refused("InvalidParameter", "Request method is not supported.", 405)
    return path


def check_headers(headers: dict[str, str]) -> None:
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind != "Bearer" or not key:
        raise Refused("InvalidApiKey", "No API-key provided.", 401)
    if key == "bad":
        raise Refused("InvalidApiKey", "Invalid API-key provided.", 401)
    if headers.get("content-type") != "application/json":
        raise Refused("InvalidParameter", "Content-Type must be application/json")
    if "x-dashscope-async" in headers:
        raise Refused("AccessDenied", "current user api does not support asynchronous calls", 403)


def checked_body(body: bytes) -> Json:
    asked: Json = json.loads(body)
    if extra := asked.keys() - {"model", "input", "parameters"}:
        raise Refused("InvalidParameter", f"Unknown fields: {sorted(extra)}")
    if not isinstance(asked.get("model"), str):
        raise Refused("BadRequest.EmptyModel", 'Required parameter "model" missing or invalid, please check.')
    if asked["model"].startswith("none"):
        raise Refused("ModelNotFound", "Model can not be found.", 404)
    if not isinstance(asked.get("input"), dict):
        raise Refused("BadRequest.EmptyInput", 'Required input parameter "input" missing from request.')
    asked.setdefault("parameters", {})
    return asked


def embedded(asked: Json) -> Json:
    texts = asked["input"].get("texts")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused("InvalidParameter", "input.texts must be a list of strings")
    if len(texts) > ROWS.get(asked["model"], 10):
        raise Refused("InvalidParameter", "batch size is invalid, it should not be larger than 10.")
    size = asked["parameters"].get("dimension", 3)
    rows = [{"text_index": place, "embedding": [float(len(text)), *range(1, size)]} for place, text in enumerate(texts)]
    output = {"embeddings": rows[::-1]}
    return {"output": output, "usage": {"total_tokens": len(texts)}, "request_id": REQUEST_ID}


def check_generation(asked: Json, path: str, streamed: bool) -> None:
    """Refuse what the model behind would."""
    model, parameters = asked["model"], asked["parameters"]
    if bool(SEES.match(model)) != (path == MULTIMODAL):
        raise Refused("InvalidParameter", URL_ERROR)
    if ONLY_STREAMED.match(model) and not streamed:
        raise Refused("InvalidParameter", STREAM_ONLY)
    check_input(asked["input"], path)
    check_numbers(parameters)
    if parameters.get("tools") and parameters.get("result_format") != "message":
        raise Refused("InvalidParameter", 'result_format must be "message" when tools are given')
    if parameters.get("tools") and parameters.get("n", 1) > 1:
        raise Refused("InvalidParameter", "n must be 1 when tools are given")
    if parameters.get("enable_thinking"):
        check_thinking(parameters, streamed)


def check_input(said: Json, path: str) -> None:
    if "prompt" in said:
        if not isinstance(said["prompt"], str) or path == MULTIMODAL or "messages" in said:
            raise Refused("InvalidParameter", "Input prompt is invalid.")
        return
    messages = said.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused("InvalidParameter", "Either prompt or messages must be given.")
    for message in messages:
        if message["role"] not in ("system", "user", "assistant", "tool"):
            raise Refused("InvalidParameter", f"Role must be in [user, assistant, system, tool]: {message['role']}")
        content = message["content"]
        if not isinstance(content, str if path == TEXT else list):
            raise Refused("InvalidParameter", "Input should be a valid " + ("string" if path == TEXT else "list"))
        if isinstance(content, list) and any("type" in part for part in content):
            raise Refused("InvalidParameter", "Parts are keyed, not typed.")


def check_numbers(parameters: Json) -> None:
    ranges: dict[str, Callable[[float], bool]] = {
        "temperature": lambda value: 0 <= value < 2,
        "top_p": lambda value: 0 < value <= 1,
        "n": lambda value: 1 <= value <= 4,
        "max_tokens": lambda value: value >= 1,
    }
    for name, fits in ranges.items():
        if name in parameters and not fits(parameters[name]):
            raise Refused("InvalidParameter", f"{name} is out of range")
    for name in ("stream", "messages", "model", "max_completion_tokens"):
        if name in parameters:
            raise Refused("InvalidParameter", f"{name} is no parameter")


def check_thinking(parameters: Json, streamed: bool) -> None:
    if not streamed:
        raise Refused("InvalidParameter", NO_THINKING)
    if parameters.get("incremental_output") is not True:
        raise Refused("InvalidParameter", MUST_BE_INCREMENTAL)
    if parameters.get("result_format") != "message":
        raise Refused("InvalidParameter", 'result_format must be "message" when enable_thinking is true')
    choice = parameters.get("tool_choice")
    if choice == "required" or isinstance(choice, dict):
        raise Refused("InvalidParameter", NO_CHOICE)


def talk(wire: Any, asked: Json, path: str, streamed: bool) -> None:
    """Answer what is well formed."""
    said = heard(asked["input"])
    if failing := re.search(r"fail:([\w.]+):(\d+)", said):
        told = Refused(failing[1], "It was asked to fail.", int(failing[2]))
        if told.status != 200:
            raise told
        wire.json(told.told)
    elif "as events" in said or (streamed and "as json" not in said):
        events(wire, list(frames(asked, path, said)))
    else:
        wire.json(whole(asked, path, said))


def heard(said: Json) -> str:
    """Give the last text of the user, and what came with it."""
    if "prompt" in said:
        return str(said["prompt"])
    content = [message["content"] for message in said["messages"] if message["role"] == "user"][-1]
    parts = content if isinstance(content, list) else [{"text": content}]
    return " ".join(part.get("text") or "/".join(f"<{key}>" for key in part) for part in parts)


def spoken(asked: Json, said: str) -> str:
    return f"Hello 世界 \U0001f30d, you said: {said}" if "tools" not in asked["parameters"] else ""


def calls(asked: Json) -> list[Json]:
    """Call each tool once, as long as none has answered."""
    if any(message["role"] == "tool" for message in asked["input"].get("messages", ())):
        return []
    return [
        {
            "index": place,
            "id": f"call_{place}",
            "type": "function",
            "function": {"name": tool["function"]["name"], "arguments": json.dumps({"city": f"City {place}"})},
        }
        for place, tool in enumerate(asked["parameters"].get("tools") or ())
    ]


def told(asked: Json, path: str, content: str, thoughts: str, called: list[Json]) -> Json:
    """Give a message."""
    message: Json = {"role": "assistant", "content": content}
    if path == MULTIMODAL:
        message["content"] = [{"text": content}] if content else []
    if asked["parameters"].get("enable_thinking"):
        message["reasoning_content"] = thoughts
    return {**message, "tool_calls": called} if called else message


def logprobs(text: str) -> Json:
    tokens = [text[at : at + MOST_SAID] for at in range(0, len(text), MOST_SAID)]
    return {"content": [{"token": token, "bytes": None, "logprob": -0.5, "top_logprobs": []} for token in tokens]}


def counted(output: int, choices: int = 1) -> Json:
    return {
        "total_tokens": 12 + output,
        "input_tokens": 12,
        "output_tokens": output,
        "prompt_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": choices},
    }


def whole(asked: Json, path: str, said: str) -> Json:
    parameters, text, called = asked["parameters"], spoken(asked, said), calls(asked)
    if parameters.get("result_format") != "message":
        output: Json = {"text": text, "finish_reason": "stop"}
    else:
        message = told(asked, path, text, "hm 世", called)
        choice = {"finish_reason": "tool_calls" if called else "stop", "message": message}
        if parameters.get("logprobs"):
            choice["logprobs"] = logprobs(text)
        count = parameters.get("n", 1)
        output = {"choices": [{**choice, "index": place} for place in range(count)] if count > 1 else [choice]}
    if parameters.get("enable_search"):
        output["search_info"] = SEARCHED
    choices = parameters.get("n", 1)
    tokens = choices * (len(list(outputs(asked, path, said, 0))) - 1)
    return {"output": output, "usage": counted(tokens, choices), "request_id": REQUEST_ID}


def frames(asked: Json, path: str, said: str) -> Iterator[bytes]:
    """Give the events of a stream, one choice in each."""
    number = 0
    for index in range(asked["parameters"].get("n", 1)):
        for place, output in enumerate(outputs(asked, path, said, index)):
            number += 1
            reply = {"output": output, "usage": counted(place) if place else {}, "request_id": REQUEST_ID}
            yield frame(number, reply)
            if place == 1 and (breaking := re.search(r"break:([\w.]+)", said)):
                yield frame(number + 1, Refused(breaking[1], "It was asked to break.").told, "500", "error")
                return
            if place == 1 and "cut" in said.split():
                return


def outputs(asked: Json, path: str, said: str, index: int) -> Iterator[Json]:
    """Give the outputs of one choice: thoughts, text, calls, the end."""
    parameters, text, called = asked["parameters"], spoken(asked, said), calls(asked)
    cumulative = parameters.get("incremental_output") is not True or "cumulative" in said.split()
    pieces = [text[at : at + MOST_SAID] for at in range(0, len(text), MOST_SAID)]
    messages = [("", thought) for thought in ("hm ", "世")] if parameters.get("enable_thinking") else []
    messages += [(piece, "") for piece in pieces]
    parts = [(content, thoughts, list[Json]()) for content, thoughts in messages]
    parts += [("", "", [part]) for one in called for part in fragments(one)]
    parts.append(("", "", []))
    so_far: tuple[str, str, list[Json]] = ("", "", [])
    for place, part in enumerate(parts):
        so_far = (so_far[0] + part[0], so_far[1] + part[1], grown(so_far[2], part[2]))
        content, thoughts, fragment = so_far if cumulative else part
        if "rewrite" in said.split() and place == len(parts) - 1:
            content = "No: " + content
        ending = ("tool_calls" if called else "stop") if place == len(parts) - 1 else "null"
        yield output_of(asked, told(asked, path, content, thoughts, fragment), ending, index)


def output_of(asked: Json, message: Json, ending: str, index: int) -> Json:
    parameters = asked["parameters"]
    if parameters.get("result_format") != "message":
        output: Json = {"finish_reason": ending, "text": message["content"]}
    else:
        choice: Json = {"message": message, "finish_reason": ending}
        if parameters.get("logprobs"):
            choice["logprobs"] = logprobs(message["content"])
        output = {"choices": [{**choice, "index": index} if parameters.get("n", 1) > 1 else choice]}
    return {**output, "search_info": SEARCHED} if parameters.get("enable_search") else output


def fragments(called: Json) -> Iterator[Json]:
    """Give a call as it is streamed: its id and its name first, then its arguments in pieces."""
    arguments = called["function"]["arguments"]
    yield {**called, "function": {"name": called["function"]["name"], "arguments": arguments[:4]}}
    yield {**called, "id": "", "function": {"name": "", "arguments": arguments[4:]}}
    yield {**called, "id": "", "function": {"arguments": ""}}


def grown(before: list[Json], new: list[Json]) -> list[Json]:
    """Give the calls as they stand after another fragment."""
    found = {call["index"]: call for call in before}
    for part in new:
        known = found.get(part["index"], part | {"function": part["function"] | {"arguments": ""}})
        arguments = known["function"]["arguments"] + part["function"]["arguments"]
        found[part["index"]] = known | {"function": known["function"] | {"arguments": arguments}}
    return list(found.values())


def frame(number: int, document: Json, status: str = "200", name: str = "result") -> bytes:
    """Write an event with DashScope's spacing: no blanks behind colons, the status as a comment."""
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return f"id:{number}\nevent:{name}\n:HTTP_STATUS/{status}\ndata:{data}\n\n".encode()


def events(wire: Any, frames: list[bytes], status: str = "200 OK") -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/event-stream;charset=UTF-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.send(head.encode())
    for one in frames:
        wire.send(b"%x\r\n%b\r\n" % (len(one), one))
    wire.send(b"0\r\n\r\n")
