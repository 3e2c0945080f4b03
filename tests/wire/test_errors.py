from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.support.client import Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually, free_port
from tests.support.scripts import CHUNKED, DONE, EVENTS, bodies, chunked, completion, event, reply

CHAT = "/v1/chat/completions"
OURS = (CHAT, "/v1/completions", "/v1/embeddings")

BODIES: dict[str, tuple[bytes, str]] = {
    "invalid JSON": (b"{invalid json}", "not valid JSON"),
    "empty": (b"", "not valid JSON"),
    "an array": (b"[]", "must be a JSON object"),
    "a string": (b'"x"', "must be a JSON object"),
    "null": (b"null", "must be a JSON object"),
    "NaN": (b'{"temperature": NaN}', "NaN is not a JSON value"),
    "Infinity": (b'{"temperature": -Infinity}', "-Infinity is not a JSON value"),
    "a number beyond a float": (b'{"temperature": 1e999}', "out of range"),
    "thousands of digits": (b'{"seed": ' + b"9" * 5000 + b"}", "too many digits"),
    "deep nesting": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "invalid UTF-8": (b'{"model": "\xff"}', "not utf-8"),
    "cut short": (b'{"model": "m1"', "not valid JSON"),
    "a time-out that is none": (b'{"timeout": -1}', "`timeout` must be a number"),
    "a time-out beyond a float": (b'{"timeout": 1' + b"0" * 400 + b"}", "`timeout` must be a number"),
}


@pytest.mark.parametrize("path", OURS)
@pytest.mark.parametrize(("body", "reason"), BODIES.values(), ids=BODIES.keys())
def test_a_bad_body_is_refused_and_nothing_is_sent(
    proxy: Proxy, upstream: Upstream, path: str, body: bytes, reason: str
) -> None:
    script = upstream.script(reply(body=completion("Hi")))
    answer = ask(proxy.port, "POST", path, body, X_Script=script)
    assert answer.status == 400
    assert reason in answer.error["message"]
    assert answer.error["type"] == "invalid_request_error"
    assert answer.json["detail"] == answer.error["message"]
    assert upstream.seen(script) == []
    assert proxy.line(answer.id)["ending"] == "refused"


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": "x", "model": "\\ud800"}',
        b'{"prompt": "x", "model": "\xed\xa0\x80"}',
        b'{"prompt": "x", "model": "m", "seed": 123456789012345678901234567890}',
        '\ufeff{"prompt": "x", "model": "m"}'.encode(),
    ],
)
def test_odd_bodies_are_forwarded(proxy: Proxy, upstream: Upstream, body: bytes) -> None:
    script = upstream.script(reply(body=completion("Hi")))
    assert ask(proxy.port, "POST", CHAT, body, X_Script=script).status == 200
    assert upstream.count(script) == 1


def test_a_body_that_is_not_json_is_forwarded_on_another_path(proxy: Proxy) -> None:
    answer = ask(proxy.port, "POST", "/v1/other", b"{invalid json}", Content_Type="application/json")
    assert answer.json["body"] == "{invalid json}"


def test_a_body_that_is_too_long_is_refused(proxy: Proxy) -> None:
    with Client(proxy.port) as client:
        client.send("POST", CHAT, None, Content_Length=str(200 * 1024 * 1024))
        answer = client.answer()
    assert (answer.status, answer.error["code"]) == (413, "payload_too_large")


def test_a_compressed_body_is_refused(proxy: Proxy) -> None:
    answer = ask(proxy.port, "POST", CHAT, b"xxx", Content_Encoding="gzip")
    assert (answer.status, answer.error["code"]) == (400, "unsupported_content_encoding")


def test_a_broken_chunked_body_is_refused(proxy: Proxy) -> None:
    answer = ask(proxy.port, "POST", CHAT, b"zz\r\n{}\r\n0\r\n\r\n", Transfer_Encoding="chunked")
    assert answer.status == 400


def test_nobody_listens(serve: Serve) -> None:
    port = free_port()
    proxy = serve(TARGET_BASE_URL=f"http://127.0.0.1:{port}")
    for answer in (
        chat(proxy.port),
        chat(proxy.port, stream=True),
        ask(proxy.port, "GET", "/v1/models"),
        ask(proxy.port, "GET", "/v1/x"),
    ):
        assert (answer.status, answer.error["code"], answer.error["type"]) == (
            502,
            "upstream_unreachable",
            "upstream_error",
        )
        assert "127.0.0.1" not in answer.error["message"]
        line = proxy.line(answer.id)
        assert (line["ending"], line["reason"]) == ("upstream_error", '"connection refused"')
        assert line["address"] == f"127.0.0.1:{port}"


def test_an_unknown_name(serve: Serve) -> None:
    proxy = serve(TARGET_BASE_URL="http://no-such-host.invalid/v1")
    answer = chat(proxy.port)
    assert (answer.status, answer.error["code"]) == (502, "name_resolution_failed")
    assert "no-such-host" not in answer.body.decode()
    line = proxy.line(answer.id)
    assert (line["address"], line["reason"][:15]) == ("no-such-host.invalid:80", '"name not found')


def test_the_log_shows_no_credentials_of_an_unreachable_upstream(serve: Serve) -> None:
    port = free_port()
    proxy = serve(TARGET_BASE_URL=f"http://me:very-secret@127.0.0.1:{port}/v1?key=very-secret")
    assert proxy.line(chat(proxy.port).id)["address"] == f"127.0.0.1:{port}"
    assert "very-secret" not in proxy.log()


def test_an_unreachable_proxy_on_the_way_is_named(serve: Serve, upstream: Upstream) -> None:
    port = free_port()
    proxy = serve(TARGET_BASE_URL=upstream.url, HTTP_PROXY=f"http://127.0.0.1:{port}")
    answer = chat(proxy.port)
    line = proxy.line(answer.id)
    assert answer.error["code"] == line["code"] == "proxy_error"
    assert (line["address"], line["reason"]) == (f"127.0.0.1:{port}", '"connection refused"')


def test_a_certificate_nobody_vouches_for(serve: Serve, tls_upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=tls_upstream.url)
    answer = chat(proxy.port)
    assert (answer.status, answer.error["code"]) == (502, "tls_verification_failed")
    assert "verification" in answer.error["message"]
    assert "REQUESTS_CA_BUNDLE" not in answer.body.decode()
    line = proxy.line(answer.id)
    assert line["address"] == f"localhost:{tls_upstream.port}"
    assert line["reason"].startswith('"certificate verify failed: ')
    assert "REQUESTS_CA_BUNDLE" in line["reason"]


def test_plain_http_where_tls_was_expected(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url.replace("http:", "https:"))
    answer = chat(proxy.port)
    assert (answer.status, answer.error["code"]) == (502, "tls_failed")
    assert proxy.line(answer.id)["reason"].startswith('"TLS failed: ')


SILENCES: dict[str, list[list[Any]]] = {
    "nothing at all": [["hold"]],
    "half a head": [["send", "HTTP/1.1 200 OK\r\nX:"], ["hold"]],
    "a dripping head": [["send", "HTTP/1.1 200 OK\r\n"], ["drip", "X-A: " + "b" * 100, 0.1], ["hold"]],
}


@pytest.mark.parametrize("steps", SILENCES.values(), ids=SILENCES.keys())
@pytest.mark.parametrize("path", [CHAT, "/v1/x"])
def test_a_silent_upstream_is_a_504(serve: Serve, upstream: Upstream, path: str, steps: list[Any]) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, API_REQUEST_TIMEOUT="2")
    script = upstream.script(*steps)
    begun = time.monotonic()
    answer = ask(proxy.port, "POST", path, b'{"model": "m1", "prompt": "x", "stream": true}', X_Script=script)
    assert time.monotonic() - begun > 1.5
    assert (answer.status, answer.error["code"]) == (504, "first_byte_timeout")
    assert proxy.line(answer.id)["ending"] == "upstream_timeout"
    assert upstream.left(script)


def test_a_silence_in_the_middle(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, IDLE_TIMEOUT="0.5")
    script = upstream.script(["send", CHUNKED + chunked(event("a"))], ["hold"])
    answer = chat(proxy.port, stream=True, headers={"X-Script": script})
    assert answer.text == "a"
    assert answer.chunks[-1]["error"]["code"] == "idle_timeout"
    assert (answer.whole, b"[DONE]" in answer.body) == (True, False)
    plain = chat(proxy.port, headers={"X-Script": script})
    assert (plain.status, plain.error["code"]) == (504, "idle_timeout")
    relayed = ask(proxy.port, "GET", "/v1/x", X_Script=script)
    assert (relayed.status, relayed.whole) == (200, False)
    for answered in (answer, plain, relayed):
        line = proxy.line(answered.id)
        assert (line["ending"], line["code"]) == ("upstream_timeout", "idle_timeout")


def test_a_reply_that_takes_too_long_in_all(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, TOTAL_TIMEOUT="2", HEARTBEAT="0.1")
    script = upstream.script(["send", CHUNKED], ["repeat", 2000, [["send", chunked(event("a"))], ["sleep", 0.05]]])
    answer = chat(proxy.port, stream=True, headers={"X-Script": script})
    assert answer.chunks[-1]["error"]["code"] == "total_timeout"
    assert upstream.left(script)
    assert chat(proxy.port, headers={"X-Script": upstream.script(["hold"])}).error["code"] == "total_timeout"


def test_a_request_may_bring_its_own_time_out(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["hold"])
    answer = chat(proxy.port, timeout=0.4, headers={"X-Script": script})
    assert (answer.status, answer.error["code"]) == (504, "first_byte_timeout")
    assert "timeout" not in json.loads(upstream.last(script)["body"])


def test_a_working_upstream_never_times_out(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, IDLE_TIMEOUT="0.5")
    script = upstream.script(
        ["send", CHUNKED],
        ["repeat", 6, [["send", chunked(event("a"))], ["sleep", 0.2]]],
        ["send", bodies([event("", "stop"), DONE])],
    )
    assert chat(proxy.port, stream=True, headers={"X-Script": script}).text == "aaaaaa"


BROKEN: dict[str, tuple[list[list[Any]], str]] = {
    "closed before the head": ([["close"]], "upstream_disconnected"),
    "reset before the head": ([["rst"]], "upstream_disconnected"),
    "no HTTP": ([["send", "hello\r\n\r\n"], ["close"]], "upstream_protocol_error"),
    "a head without an end": ([["send", "HTTP/1.1 200 OK\r\nA: " + "b" * 70_000], ["hold"]], "upstream_protocol_error"),
    "a flood of headers": ([["send", "HTTP/1.1 200 OK\r\n" + "A: b\r\n" * 200 + "\r\n"]], "upstream_protocol_error"),
    "another protocol": (
        [["send", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"], ["hold"]],
        "upstream_protocol_error",
    ),
    "lengths that differ": (
        [["send", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"]],
        "upstream_protocol_error",
    ),
    "a document cut short": ([["send", reply(body=completion("Hi"))[1][:-5]], ["close"]], "upstream_reply_cut_short"),
    "chunks cut short": (
        [["send", CHUNKED + chunked(completion("Hi").decode())], ["close"]],
        "upstream_reply_cut_short",
    ),
    "a stream cut short": ([["send", CHUNKED + chunked(event("a"))], ["close"]], "upstream_reply_cut_short"),
    "a stream reset": ([["send", CHUNKED + chunked(event("a"))], ["read"], ["rst"]], "upstream_disconnected"),
    "a stream that just ends": ([["send", CHUNKED + bodies([event("a")])]], "upstream_stream_cut_short"),
    "a broken chunk": ([["send", CHUNKED + "zz\r\n"], ["hold"]], "upstream_protocol_error"),
    "HTML": ([reply(body=b"<html>504 at 10.0.0.1", Content_Type="text/html")], "upstream_protocol_error"),
    "nothing": ([reply()], "upstream_protocol_error"),
    "no content": ([["send", "HTTP/1.1 204 No Content\r\n\r\n"]], "upstream_protocol_error"),
    "broken JSON": ([reply(body=b'{"choices": [')], "upstream_protocol_error"),
    "no completion": ([reply(body=b'{"hello": 1}')], "upstream_protocol_error"),
    "broken gzip": ([reply(body=b"no gzip", Content_Encoding="gzip")], "upstream_protocol_error"),
    "an unknown coding": ([reply(body=b"x", Content_Encoding="br")], "upstream_protocol_error"),
}


@pytest.mark.parametrize(("steps", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_reply_is_a_502(proxy: Proxy, upstream: Upstream, steps: list[Any], code: str) -> None:
    answer = chat(proxy.port, headers={"X-Script": upstream.script(*steps)})
    assert (answer.status, answer.error["code"], answer.error["type"]) == (502, code, "upstream_error")
    assert "10.0.0.1" not in answer.body.decode()
    assert proxy.line(answer.id)["ending"] == "upstream_broken"
    assert chat(proxy.port).status == 200


@pytest.mark.parametrize(
    "steps",
    [
        [["send", CHUNKED + chunked(event("a"))], ["read"], ["close"]],
        [["send", CHUNKED + chunked(event("a"))], ["read"], ["rst"]],
        [["send", CHUNKED + chunked(event("a")) + "5\r\nda"], ["read"], ["close"]],
        [["send", CHUNKED + bodies([event("a")])]],
        [["send", EVENTS + "\r\n" + event("a")], ["close"]],
        [["send", EVENTS + "\r\n" + event("a") + 'data: {"choi'], ["close"]],
        [["send", EVENTS + "Content-Length: 5000\r\n\r\n" + event("a")], ["read"], ["close"]],
    ],
)
def test_a_stream_that_breaks_says_so(proxy: Proxy, upstream: Upstream, steps: list[Any]) -> None:
    answer = chat(proxy.port, stream=True, headers={"X-Script": upstream.script(*steps)})
    assert answer.status == 200
    assert answer.text == "a"
    assert set(answer.chunks[-1]) == {"error"}
    assert answer.chunks[-1]["error"]["type"] == "upstream_error"
    assert b"[DONE]" not in answer.body
    assert b'"stop"' not in answer.body
    assert proxy.line(answer.id)["ending"] == "upstream_broken"


def test_an_error_in_a_stream_ends_it(proxy: Proxy, upstream: Upstream) -> None:
    failure = 'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
    script = upstream.script(["send", CHUNKED + chunked(event("a"))], ["sleep", 0.1], ["send", bodies([failure, DONE])])
    answer = chat(proxy.port, stream=True, headers={"X-Script": script})
    assert answer.chunks[-1]["error"]["message"] == "out of memory"
    assert b"[DONE]" not in answer.body
    plain = chat(proxy.port, headers={"X-Script": script})
    assert (plain.status, plain.error["message"]) == (500, "out of memory")
    at_once = chat(
        proxy.port, stream=True, headers={"X-Script": upstream.script(["send", CHUNKED + bodies([failure])])}
    )
    assert (at_once.status, at_once.error["message"]) == (500, "out of memory")
    for answered in (answer, plain, at_once):
        assert proxy.line(answered.id)["ending"] == "upstream_error"


def test_an_error_in_a_whole_reply_keeps_its_status(proxy: Proxy, upstream: Upstream) -> None:
    failure = reply(body=b'{"error": {"message": "rate", "code": 429}}', Content_Type="application/json")[1]
    script = upstream.script(["send", failure[:-20]], ["sleep", 0.05], ["send", failure[-20:]])
    for stream in (True, False):
        answer = chat(proxy.port, stream=stream, headers={"X-Script": script})
        assert (answer.status, answer.error["message"]) == (429, "rate")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("stream", [True, False])
def test_the_upstreams_own_status_and_body_pass(proxy: Proxy, upstream: Upstream, status: int, stream: bool) -> None:
    body = b'{"error":  {"message": "theirs", "type": "t", "param": null, "code": 7}, "more": 1}'
    script = upstream.script(
        reply(f"{status} X", body, Content_Type="application/json", Retry_After="3", X_Ratelimit_Remaining_Requests="0")
    )
    answer = chat(proxy.port, stream=stream, headers={"X-Script": script})
    assert (answer.status, answer.body) == (status, body)
    assert (answer.header("Retry-After"), answer.header("X-Ratelimit-Remaining-Requests")) == ("3", "0")
    assert proxy.line(answer.id)["ending"] == "upstream_error"


def test_html_errors_become_json_on_our_routes_and_stay_on_others(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(reply("502 Bad Gateway", b"<html>nginx at 10.0.0.1</html>", Content_Type="text/html"))
    answer = chat(proxy.port, headers={"X-Script": script})
    assert (answer.status, answer.header("Content-Type")) == (502, "application/json")
    assert answer.error["message"] == "The upstream answered with status 502."
    relayed = ask(proxy.port, "GET", "/v1/x", X_Script=script)
    assert (relayed.status, relayed.body) == (502, b"<html>nginx at 10.0.0.1</html>")


@pytest.mark.parametrize(
    "step", [reply("403 No", b"x", Content_Encoding="br"), ["send", "HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nab"]]
)
def test_the_status_of_an_error_counts_even_when_its_body_breaks(proxy: Proxy, upstream: Upstream, step: Any) -> None:
    answer = chat(proxy.port, headers={"X-Script": upstream.script(step, ["close"])})
    assert (answer.status, answer.error["message"]) == (403, "The upstream answered with status 403.")


@pytest.mark.parametrize(
    "steps",
    [
        [["send", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"], ["close"]],
        [["send", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"], ["read"], ["rst"]],
        [["send", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("hello")], ["close"]],
        [["send", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("hello") + "5\r\nhe"], ["close"]],
    ],
)
def test_a_relayed_download_that_is_cut_never_looks_complete(
    proxy: Proxy, upstream: Upstream, steps: list[Any]
) -> None:
    with Client(proxy.port) as client:
        client.send("GET", "/v1/files/1", X_Script=upstream.script(*steps))
        answer = client.answer()
        assert (answer.status, answer.whole) == (200, False)
        assert answer.body.startswith(b"he")
    assert proxy.line(answer.id)["ending"] == "upstream_broken"


OK = "HTTP/1.1 200 OK\r\n"
IMPOSSIBLE = {
    "a length that is no number": OK + "Content-Length: abc\r\n\r\nhello",
    "no length": OK + "Content-Length: \r\n\r\nhello",
    "a length below zero": OK + "Content-Length: -5\r\n\r\nhello",
    "a length of many digits": OK + "Content-Length: " + "5" * 5000 + "\r\n\r\nhello",
    "lengths that differ": OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "another transfer coding": OK + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked("hello"),
    "an unknown transfer coding": OK + "Transfer-Encoding: xchunked\r\n\r\n" + chunked("hello"),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("head", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_a_reply_whose_end_nobody_can_tell_is_a_502(proxy: Proxy, upstream: Upstream, method: str, head: str) -> None:
    before = proxy.descriptors()
    answer = ask(proxy.port, method, "/v1/files/1", X_Script=upstream.script(["send", head], ["hold"]))
    assert answer.status == 502
    line = proxy.line(answer.id)
    assert (line["ending"], line["code"]) == ("upstream_broken", "upstream_protocol_error")
    eventually(lambda: proxy.descriptors() <= before)


CUT_HEADS = ["HTTP/1.1 200 O", OK, OK + "X: y\r\nContent-Le", OK + "Content-Type: application/pdf\r\nContent-Le"]


@pytest.mark.parametrize("path", [CHAT, "/v1/files/1"])
@pytest.mark.parametrize("head", CUT_HEADS)
def test_a_head_cut_short_is_a_502(proxy: Proxy, upstream: Upstream, head: str, path: str) -> None:
    script = upstream.script(["send", head], ["close"])
    answer = ask(proxy.port, "POST", path, b'{"model": "m1", "prompt": "x"}', X_Script=script)
    assert (answer.status, answer.error["code"]) == (502, "upstream_reply_cut_short")
    assert proxy.line(answer.id)["ending"] == "upstream_broken"


@pytest.mark.parametrize("line", ["no field", "X Y: x", "X : y", ": x", " folded: x"])
def test_a_line_that_is_no_header_is_a_502(proxy: Proxy, upstream: Upstream, line: str) -> None:
    script = upstream.script(["send", f"{OK}{line}\r\nContent-Length: 5\r\n\r\nhello"])
    answer = ask(proxy.port, "GET", "/v1/files/1", X_Script=script)
    assert (answer.status, answer.error["code"]) == (502, "upstream_protocol_error")


def test_a_reply_of_several_parts_is_no_broken_head(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(reply(body=b"--x--", Content_Type="multipart/mixed; boundary=x"))
    assert ask(proxy.port, "GET", "/v1/files/1", X_Script=script).body == b"--x--"


@pytest.mark.parametrize("lengths", ["Content-Length: 5, 5", "Content-Length: 5\r\ncontent-length: 5"])
def test_a_length_told_twice_is_sent_once(proxy: Proxy, upstream: Upstream, lengths: str) -> None:
    script = upstream.script(["send", f"{OK}{lengths}\r\n\r\nhello"])
    answer = ask(proxy.port, "GET", "/v1/files/1", X_Script=script)
    assert (answer.status, answer.whole, answer.body) == (200, True, b"hello")
    assert [value for name, value in answer.headers if name.lower() == "content-length"] == ["5"]


def test_blanks_around_chunked_do_not_matter(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["send", f"{OK}Transfer-Encoding:  chunked \r\n\r\n" + bodies(["hello"])])
    answer = ask(proxy.port, "GET", "/v1/files/1", X_Script=script)
    assert (answer.status, answer.whole, answer.body) == (200, True, b"hello")
    head = upstream.script(["send", f"{OK}Transfer-Encoding: chunked\r\n\r\n"])
    assert ask(proxy.port, "HEAD", "/v1/files/1", X_Script=head).status == 200


@pytest.mark.parametrize(("method", "path"), [("POST", "/health"), ("DELETE", "/health/live"), ("PUT", "/health/x")])
def test_health_is_read_only(proxy: Proxy, method: str, path: str) -> None:
    answer = ask(proxy.port, method, path, b"")
    assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD")


def test_other_paths_below_health_are_not_passed_on(proxy: Proxy) -> None:
    assert ask(proxy.port, "GET", "/health/other").status == 404


def test_what_gunicorn_itself_refuses_leaves_the_worker_alive(proxy: Proxy) -> None:
    with Client(proxy.port) as client:
        client.sock.sendall(b"NONSENSE\r\n\r\n")
        assert client.head().status == 400
    assert chat(proxy.port).status == 200


def test_no_traceback_was_logged_by_any_of_this(proxy: Proxy) -> None:
    assert "Traceback" not in proxy.log()
