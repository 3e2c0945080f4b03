from __future__ import annotations

from collections.abc import Iterator

import pytest

from argoproxy.errors import BadRequest, ClientGone, ProxyError, UpstreamStatus, UpstreamUnreachable
from argoproxy.protocol.api.endpoints import CHAT, LONGEST_LOOK, answer_as_success, is_compatible, wants_a_stream
from argoproxy.protocol.http_messages import Body, BytesBody, ClientResponse, get_header
from argoproxy.protocol.json_text import loads


@pytest.mark.parametrize("setting", [True, False])
@pytest.mark.parametrize(
    ("said", "is_meant"), [("TRUE", True), ("1", True), ("off", False), (" no ", False), ("", None)]
)
def test_a_request_says_so_before_the_setting(setting: bool, said: str, is_meant: bool | None) -> None:
    assert is_compatible((("X-Compatible", said),), setting) is (setting if is_meant is None else is_meant)


def test_a_header_that_says_neither_is_refused() -> None:
    with pytest.raises(BadRequest, match="X-Compatible"):
        is_compatible((("x-compatible", "perhaps"),), False)


def answer_error_as_success(error: ProxyError, wants_stream: bool) -> ClientResponse:
    return answer_as_success(CHAT.answer_error(error, "id"), CHAT.error_event(error, "id"), wants_stream)


def test_the_same_error_under_200() -> None:
    plain = answer_error_as_success(UpstreamUnreachable("gone"), False)
    assert isinstance(plain.body, bytes)
    assert (plain.status, loads(plain.body)["error"]["code"]) == (200, "upstream_unreachable")
    event = answer_error_as_success(UpstreamUnreachable("gone"), True)
    assert isinstance(event.body, bytes)
    assert event.body.startswith(b'data: {"error"')
    assert get_header(event.headers, "content-type").startswith("text/event-stream")


def test_a_redirect_is_no_error() -> None:
    assert answer_error_as_success(UpstreamStatus(302, (("Location", "/x"),), b""), True).status == 302


class Gone:
    """A body whose client left."""

    length = None

    def read(self, limit: int) -> bytes:
        raise ClientGone

    def iter_bytes(self) -> Iterator[bytes]:
        raise ClientGone


class Long:
    """A body that is too long to be looked at."""

    length = LONGEST_LOOK + 1

    def read(self, limit: int) -> bytes:
        raise AssertionError

    def iter_bytes(self) -> Iterator[bytes]:
        raise AssertionError


@pytest.mark.parametrize(
    ("body", "wants"),
    [
        (BytesBody(b'{"stream": true}'), True),
        (BytesBody(b'{"stream": 1}'), False),
        (BytesBody(b"[true]"), False),
        (BytesBody(b'{"stream": true'), False),
        (Long(), False),
        (Gone(), False),
    ],
)
def test_whether_a_body_asks_for_a_stream(body: Body, wants: bool) -> None:
    assert wants_a_stream(body) is wants
