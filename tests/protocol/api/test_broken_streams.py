"""What the official clients raise on a stream that broke off and was passed on byte for byte: an error of their own,
wherever it broke."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pkgutil import resolve_name

import httpx2
import openai
import pytest

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.api.endpoints import CHAT, Endpoint
from argoproxy.protocol.api.passthrough import end_with_error_event
from argoproxy.protocol.messages.endpoint import MESSAGES
from argoproxy.protocol.responses.responses_endpoint import RESPONSES
from tests.support.doubles import FakeProgress

#: What the errors say: not that the stream has two ids.
SAID = r"broke off|response\.(?:created|completed)"
HEADERS = (("Content-Type", "text/event-stream"),)
MESSAGE = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    b'"model":"c","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
    b'{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    b'{"type":"text_delta","text":"H\xc3\xa9"}}\n\n'
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
)
RESPONSE = (
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_8","object":'
    b'"response","created_at":1,"model":"m","output":[],"parallel_tool_calls":true,"tool_choice":"auto","tools":[]}}\n\n'
    b'event: response.in_progress\ndata: {"type":"response.in_progress","sequence_number":1,'
    b'"response":{"id":"resp_8"}}\n\n'
)
CHUNKS = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"H"}}]}\n\n: hi\n\ndata: {"id":"c","choices":[]}\n\n'
)


def passed_on(endpoint: Endpoint, body: bytes) -> httpx2.Client:
    """Return a connection on which a stream breaks off after its beginning."""

    def broken() -> Iterator[bytes]:
        yield body
        raise UpstreamProtocolError("It broke off.")

    sent = b"".join(end_with_error_event(broken(), HEADERS, endpoint, FakeProgress()))
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, headers=HEADERS, content=sent)))


def ask_messages(connection: httpx2.Client) -> None:
    client = resolve_name("anthropic:Anthropic")(api_key="k", base_url="http://up", http_client=connection)
    with client.messages.stream(model="c", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as stream:
        stream.get_final_message()


def ask_responses(connection: httpx2.Client) -> None:
    client = openai.OpenAI(api_key="k", base_url="http://up/v1", http_client=connection)
    with client.responses.stream(model="m", input="Hi") as stream:
        stream.get_final_response()


def ask_chat(connection: httpx2.Client) -> None:
    client = openai.OpenAI(api_key="k", base_url="http://up/v1", http_client=connection)
    list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True))


@pytest.mark.parametrize(
    ("endpoint", "body", "ask", "error"),
    [
        (MESSAGES, MESSAGE, ask_messages, "anthropic:APIStatusError"),
        # Its form of "the stream ended without a completed response".
        (RESPONSES, RESPONSE, ask_responses, "builtins:RuntimeError"),
        (CHAT, CHUNKS, ask_chat, "openai:APIError"),
    ],
    ids=["messages", "responses", "chat"],
)
def test_a_client_raises_its_own_error_wherever_a_stream_breaks(
    endpoint: Endpoint, body: bytes, ask: Callable[[httpx2.Client], None], error: str
) -> None:
    for end in range(len(body) + 1):
        with passed_on(endpoint, body[:end]) as connection, pytest.raises(resolve_name(error), match=SAID):
            ask(connection)
