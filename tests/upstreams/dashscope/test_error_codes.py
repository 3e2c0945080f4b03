from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import BadRequest, ProxyError, UpstreamStatus
from argoproxy.protocol.http_messages import get_header
from argoproxy.protocol.json_text import dumps, loads
from argoproxy.protocol.stream.sse import Event
from argoproxy.upstreams.dashscope.error_codes import check_event, check_reply, error_from_dashscope_reply
from argoproxy.upstreams.error_replies import refuses_mode
from tests.support.dashscope_calls import frame
from tests.support.providers.dashscope import MUST_BE_INCREMENTAL, NO_CHOICE, NO_THINKING, STREAM_ONLY

Json = dict[str, Any]


def told(code: Any, message: Any = "It failed.") -> Json:
    return {"code": code, "message": message, "request_id": "r-1"}


def shown(error: ProxyError) -> tuple[int, str, Any]:
    assert isinstance(error, UpstreamStatus)
    body = loads(error.body)["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return error.status, body["type"], body["code"]


CODES = [
    ("InvalidParameter", 400, "invalid_request_error", "InvalidParameter"),
    ("InvalidParameter.DataInspection", 400, "invalid_request_error", "InvalidParameter.DataInspection"),
    ("InternalError.Algo.InvalidParameter", 400, "invalid_request_error", "InternalError.Algo.InvalidParameter"),
    ("BadRequest.EmptyInput", 400, "invalid_request_error", "BadRequest.EmptyInput"),
    ("InvalidURL", 400, "invalid_request_error", "InvalidURL"),
    ("UnsupportedOperation", 400, "invalid_request_error", "UnsupportedOperation"),
    ("DataInspectionFailed", 400, "invalid_request_error", "content_filter"),
    ("data_inspection_failed", 400, "invalid_request_error", "content_filter"),
    ("Arrearage", 400, "insufficient_quota", "insufficient_quota"),
    ("InvalidApiKey", 401, "authentication_error", "invalid_api_key"),
    ("AccessDenied", 403, "permission_error", "AccessDenied"),
    ("AccessDenied.Unpurchased", 403, "permission_error", "AccessDenied.Unpurchased"),
    ("Model.AccessDenied", 403, "permission_error", "Model.AccessDenied"),
    ("Workspace.AccessDenied", 403, "permission_error", "Workspace.AccessDenied"),
    ("ModelNotFound", 404, "not_found_error", "model_not_found"),
    ("Model.NotExist", 404, "not_found_error", "model_not_found"),
    ("NotFound", 404, "not_found_error", "model_not_found"),
    ("RequestTooLarge", 413, "invalid_request_error", "RequestTooLarge"),
    ("Throttling", 429, "rate_limit_error", "rate_limit_exceeded"),
    ("Throttling.RateQuota", 429, "rate_limit_error", "rate_limit_exceeded"),
    ("Throttling.BurstRate", 429, "rate_limit_error", "rate_limit_exceeded"),
    ("Throttling.AllocationQuota", 429, "insufficient_quota", "insufficient_quota"),
    ("LimitRequests", 429, "rate_limit_error", "rate_limit_exceeded"),
    ("InternalError", 500, "server_error", "InternalError"),
    ("InternalError.Algo", 500, "server_error", "InternalError.Algo"),
    ("SystemError", 500, "server_error", "SystemError"),
    ("RequestTimeOut", 500, "server_error", "RequestTimeOut"),
    ("ServiceUnavailable", 503, "server_error", "ServiceUnavailable"),
    ("ModelServingError", 503, "server_error", "ModelServingError"),
    ("ModelUnavailable", 503, "server_error", "ModelUnavailable"),
]


@pytest.mark.parametrize(("code", "status", "kind", "openai_code"), CODES)
def test_codes_become_openais_wherever_they_come(code: str, status: int, kind: str, openai_code: str) -> None:
    expected = (status, kind, openai_code)
    assert shown(error_from_dashscope_reply(status, (), dumps(told(code)))) == expected
    assert shown(error_from_dashscope_reply(status, (), frame(told(code), "error", status))) == expected
    with pytest.raises(UpstreamStatus) as caught:
        check_reply(told(code))
    assert shown(caught.value) == expected
    for name in ("error", "result"):
        with pytest.raises(UpstreamStatus) as caught:
            check_event(Event(frame(told(code), name, status)))
        assert shown(caught.value) == expected


@pytest.mark.parametrize(
    ("status", "code", "right"),
    [
        (400, "InvalidApiKey", 401),
        (500, "InternalError.Algo.InvalidParameter", 400),
        (500, "Throttling", 429),
        (400, "InternalError.Algo.Odd", 400),
        (504, "RequestTimeOut", 504),
        (403, "InvalidApiKey", 403),
        (418, "Odd.Code", 418),
    ],
)
def test_a_status_is_kept_unless_it_says_less_than_the_code(status: int, code: str, right: int) -> None:
    assert error_from_dashscope_reply(status, (), dumps(told(code))).status == right


def test_the_id_of_the_request_is_not_lost() -> None:
    error = error_from_dashscope_reply(429, (("Retry-After", "3"), ("Content-Length", "9")), dumps(told("Throttling")))
    assert dict(error.headers) == {
        "Retry-After": "3",
        "X-Request-Id": "r-1",
        "Content-Type": "application/json",
    }
    assert isinstance(error, UpstreamStatus)
    assert loads(error.body)["error"]["message"] == "It failed. (code: Throttling, request id: r-1)"
    error = error_from_dashscope_reply(429, (("x-request-id", "theirs"),), dumps(told("Throttling")))
    assert get_header(error.headers, "x-request-id") == "theirs"
    with pytest.raises(UpstreamStatus) as caught:
        check_reply(told("Throttling"))
    assert get_header(caught.value.headers, "x-request-id") == "r-1"


@pytest.mark.parametrize(
    ("code", "mapped", "said"),
    [
        ("Throttling.RateQuota", "rate_limit_exceeded", "It failed. (code: Throttling.RateQuota, request id: r-1)"),
        ("Throttling.BurstRate", "rate_limit_exceeded", "It failed. (code: Throttling.BurstRate, request id: r-1)"),
        ("InvalidParameter", "InvalidParameter", "It failed. (request id: r-1)"),
        ("Throttling.a b\x1b", "rate_limit_exceeded", "It failed. (request id: r-1)"),
    ],
)
def test_codes_that_are_mapped_to_one_are_told_apart(code: str, mapped: str, said: str) -> None:
    error = error_from_dashscope_reply(429, (), dumps(told(code)))
    assert isinstance(error, UpstreamStatus)
    document = loads(error.body)["error"]
    assert (document["code"], document["message"]) == (mapped, said)


@pytest.mark.parametrize("request_id", [None, 3, "", "a\r\nb"])
def test_an_id_that_is_none(request_id: Any) -> None:
    failed = {**told("InvalidParameter"), "request_id": request_id}
    with pytest.raises(UpstreamStatus) as caught:
        check_reply(failed)
    for error in (error_from_dashscope_reply(400, (), dumps(failed)), caught.value):
        assert not get_header(error.headers, "x-request-id")
        assert isinstance(error, UpstreamStatus)
        assert loads(error.body)["error"]["message"] == "It failed."


@pytest.mark.parametrize("message", [None, "", 3])
def test_an_error_without_words(message: Any) -> None:
    error = error_from_dashscope_reply(503, (), dumps({"code": "ModelUnavailable", "message": message}))
    assert isinstance(error, UpstreamStatus)
    assert loads(error.body)["error"]["message"] == "DashScope answered with status 503."


def test_a_text_that_is_too_long() -> None:
    words = "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]"
    assert (
        shown(error_from_dashscope_reply(400, (), dumps(told("InvalidParameter", words))))[2]
        == "context_length_exceeded"
    )


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (502, b"<html>", "The upstream answered with status 502."),
        (500, b"", "The upstream answered with status 500."),
        (400, b"data: [DONE]\n\n", "The upstream answered with status 400."),
        (400, b'{"error": {"message": "No."}}', "No."),
        (400, b'{"code": "", "message": "No."}', "No."),
        (400, b'data:{"message": "No."}\n\n', "No."),
        (400, b'[{"error": {"message": "No."}}]', "No."),
        (500, b"x" * (9 * 1024 * 1024), "The upstream answered with status 500."),
    ],
)
def test_errors_that_are_not_dashscopes(status: int, body: bytes, message: str) -> None:
    error = error_from_dashscope_reply(status, (), body)
    assert isinstance(error, UpstreamStatus)
    assert error.status == status
    assert loads(error.body)["error"]["message"] == message


def test_a_redirect_stays_what_it_is() -> None:
    error = error_from_dashscope_reply(302, (("Location", "/x"),), dumps(told("InvalidParameter")))
    assert isinstance(error, UpstreamStatus)
    assert (error.status, error.body) == (302, dumps(told("InvalidParameter")))


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (told("Odd.Code"), 502, "Odd.Code"),
        ({"error": {"message": "No.", "code": "x"}}, 502, "x"),
        ({"error": "No."}, 502, None),
    ],
)
def test_errors_under_a_status_of_success_that_nobody_knows(reply: Json, status: int, code: Any) -> None:
    with pytest.raises(UpstreamStatus) as caught:
        check_reply(reply)
    assert (caught.value.status, loads(caught.value.body)["error"]["code"]) == (status, code)


@pytest.mark.parametrize("reply", [{}, {"code": ""}, {"code": None, "message": ""}, {"code": 200, "error": None}])
def test_a_reply_that_tells_of_no_error(reply: Json) -> None:
    check_reply(reply)
    check_event(Event(frame(reply)))


@pytest.mark.parametrize(
    ("raw", "status", "message"),
    [
        (b"event:error\n:HTTP_STATUS/503\ndata:Overloaded\n\n", 503, "Overloaded"),
        (b"event: error\r\ndata:\r\n\r\n", 502, "DashScope answered with status 502."),
        (b"event:error\n\n", 502, "DashScope answered with status 502."),
        (b'event:error\n:HTTP_STATUS/400\ndata:{"message":"No."}\n\n', 400, "No."),
        (b'event:error\n:HTTP_STATUS/200\ndata:{"error":{"message":"No."}}\n\n', 502, "No."),
    ],
)
def test_events_that_are_called_errors(raw: bytes, status: int, message: str) -> None:
    with pytest.raises(UpstreamStatus) as caught:
        check_event(Event(raw))
    assert (caught.value.status, loads(caught.value.body)["error"]["message"]) == (status, message)


@pytest.mark.parametrize(
    ("words", "status", "refuses"),
    [
        (NO_THINKING, 400, True),
        (STREAM_ONLY, 400, True),
        (MUST_BE_INCREMENTAL, 400, True),
        ("current user api does not support http call", 403, True),
        ("This model does not support stream mode.", 400, True),
        (NO_CHOICE, 400, False),
        ("current user api does not support synchronous calls", 403, False),
        (STREAM_ONLY, 500, False),
    ],
)
def test_refusals_of_the_way_it_was_asked(words: str, status: int, refuses: bool) -> None:
    assert refuses_mode(error_from_dashscope_reply(status, (), dumps(told("Odd", words)))) is refuses
    assert not refuses_mode(BadRequest(words))
