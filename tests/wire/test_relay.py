from __future__ import annotations

import gzip
import hashlib
import json
import zlib

import pytest

from tests.support.client import Client, ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import reply


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
@pytest.mark.parametrize("body", [b"", b"\x00\xff not json {"])
def test_any_method_path_query_and_body_is_forwarded(proxy: Proxy, method: str, body: bytes) -> None:
    target = "/v1/files/a%2Fb%2f%7e/x?q=%20+&q=a%2fb&empty"
    answer = ask(
        proxy.port, method, target, body, Content_Type="application/x-odd", X_Custom="c", Authorization="Bearer k"
    )
    assert answer.status == 200
    seen = answer.json
    assert (seen["method"], seen["target"]) == (method, target)
    assert seen["body"].encode("latin-1") == body
    headers = dict(seen["headers"])
    assert headers["Content-Type"] == "application/x-odd"
    assert (headers["X-Custom"], headers["Authorization"]) == ("c", "Bearer k")
    assert "X-Logging-Id" not in headers
    line = proxy.line(answer.id)
    assert (line["method"], line["route"], line["status"], line["ending"]) == (method, "/{path}", "200", "complete")
    assert "q=" not in line["path"]


def test_headers_that_belong_to_a_connection_or_a_site_stop_here(proxy: Proxy, upstream: Upstream) -> None:
    with Client(proxy.port) as client:
        client.send(
            "GET",
            "/v1/x",
            Connection="keep-alive, X-Hop",
            X_Hop="1",
            TE="trailers",
            X_Forwarded_For="1.2.3.4",
            Accept_Encoding="gzip, br",
            X_Upstream_Mode="stream",
            X_Request_Id="mine-1",
            traceparent="00-abc",
        )
        answer = client.answer()
    headers = {name.lower(): value for name, value in answer.json["headers"]}
    assert headers["host"] == f"localhost:{upstream.port}"
    assert headers["accept-encoding"] == "gzip, br"
    assert (headers["x-request-id"], headers["traceparent"]) == ("mine-1", "00-abc")
    stopped = {"connection", "x-hop", "te", "x-forwarded-for", "x-upstream-mode", "transfer-encoding"}
    assert not stopped & set(headers)
    assert proxy.line(answer.id)["client_request_id"] == "mine-1"


def test_a_reply_comes_back_byte_for_byte(proxy: Proxy, upstream: Upstream) -> None:
    body = b' {"odd" :1.0,\r\n "caf\xc3\xa9":"\\u00e9"} \x00\xff'
    script = upstream.script(
        reply(
            "418 I'm a teapot",
            body,
            Content_Type="application/x-odd; a=b",
            ETag='"x"',
            Vary="a",
            vary="b",
            X_Latin="caf\xe9",
        )
    )
    answer = ask(proxy.port, "GET", "/v1/x", X_Script=script)
    assert (answer.status, answer.body) == (418, body)
    assert answer.header("Content-Type") == "application/x-odd; a=b"
    assert answer.header("ETag") == '"x"'
    assert answer.header("X-Latin") == "caf\xe9"
    assert [value for name, value in answer.headers if name.lower() == "vary"] == ["a", "b"]
    assert proxy.line(answer.id)["ending"] == "upstream_error"


def test_a_reply_without_a_content_type_gets_none(proxy: Proxy, upstream: Upstream) -> None:
    answer = ask(proxy.port, "GET", "/v1/x", X_Script=upstream.script(reply(body=b"x")))
    assert not answer.header("Content-Type")


def test_headers_of_the_upstreams_own_site_stop_here(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(
        reply(body=b"x", Server="up", Strict_Transport_Security="x", Connection="X-Hop", X_Hop="1")
    )
    answer = ask(proxy.port, "GET", "/v1/x", X_Script=script)
    names = {name.lower() for name, _ in answer.headers}
    assert not {"strict-transport-security", "x-hop"} & names
    assert answer.header("Server") != "up"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_a_compressed_reply_is_relayed_untouched_with_its_header(proxy: Proxy, upstream: Upstream, coding: str) -> None:
    packed = gzip.compress(b"hello" * 100)
    script = upstream.script(reply(body=packed, Content_Encoding=coding, ETag='"strong"'))
    answer = ask(proxy.port, "GET", "/v1/x", X_Script=script, Accept_Encoding="gzip, deflate, br")
    assert answer.body == packed
    assert answer.header("Content-Encoding") == coding
    assert answer.header("Content-Length") == str(len(packed))


def test_a_key_does_not_come_back_compressed(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, TARGET_API_KEY="sk-target/123456")
    told = b'{"you": "sk-target/123456", "php": "sk-target\\/123456"}'
    script = upstream.script(reply(body=gzip.compress(told), Content_Encoding="gzip", ETag="x"))
    answer = ask(proxy.port, "GET", "/v1/x", X_Script=script, Accept_Encoding="gzip")
    assert answer.body == b'{"you": "****************", "php": "*****************"}'
    assert (answer.whole, answer.header("Content-Encoding"), answer.header("ETag")) == (True, "", "")
    unknown = upstream.script(reply(body=b"sk-target", Content_Encoding="br"))
    answer = ask(proxy.port, "GET", "/v1/x", X_Script=unknown)
    assert (answer.status, answer.error["code"]) == (502, "upstream_protocol_error")


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("stream", [True, False])
def test_a_compressed_completion_is_unpacked_and_its_header_dropped(
    proxy: Proxy, upstream: Upstream, coding: str, pack: object, stream: bool
) -> None:
    document = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "<think>x</think>Hi"}}]}
    script = upstream.script(
        reply(body=pack(json.dumps(document).encode()), Content_Encoding=coding, Content_Type="application/json")  # type: ignore[operator]
    )
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}).encode()
    answer = ask(proxy.port, "POST", "/v1/chat/completions", body, X_Script=script, Accept_Encoding="gzip")
    assert not answer.header("Content-Encoding")
    assert answer.text == "Hi" if stream else answer.json["choices"][0]["message"]["content"] == "Hi"
    assert ("Accept-Encoding", "identity") in map(tuple, upstream.last(script)["headers"])


def test_an_empty_content_coding_is_none(proxy: Proxy, upstream: Upstream) -> None:
    body = b'{"choices": []}'
    script = upstream.script(reply(body=body, Content_Encoding=""))
    asked = b'{"model": "m1", "prompt": "x"}'
    assert ask(proxy.port, "POST", "/v1/chat/completions", asked, X_Script=script).body == body


def test_head_has_the_head_of_get(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["send", "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nX-A: b\r\n\r\n"])
    with Client(proxy.port) as client:
        for _ in range(2):
            client.send("HEAD", "/v1/x", X_Script=script)
            answer = client.answer("HEAD")
            assert (answer.status, answer.header("Content-Length"), answer.header("X-A")) == (200, "12345", "b")
    assert proxy.line(answer.id)["ending"] == "complete"
    assert {seen["method"] for seen in upstream.seen(script)} == {"HEAD"}


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_replies_without_a_body(proxy: Proxy, upstream: Upstream, status: str) -> None:
    script = upstream.script(["send", f"HTTP/1.1 {status}\r\nX-A: b\r\nETag: x\r\n\r\n"])
    with Client(proxy.port) as client:
        for _ in range(2):
            client.send("DELETE", "/v1/x", X_Script=script)
            answer = client.answer("DELETE")
            assert (answer.status, answer.body, answer.header("X-A")) == (int(status[:3]), b"", "b")
    assert proxy.line(answer.id)["ending"] == "complete"
    connections = {seen["connection"] for seen in upstream.seen(script)}
    assert len(connections) == 1, "the upstream's connection is kept"


@pytest.mark.parametrize("path", ["/v1/x", "/v1/chat/completions"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_handed_to_the_client(proxy: Proxy, upstream: Upstream, path: str, status: int) -> None:
    script = upstream.script(reply(f"{status} Moved", b"there", Location="http://elsewhere.invalid/x?a=b"))
    answer = ask(proxy.port, "POST", path, b'{"model": "m1", "prompt": "x"}', X_Script=script)
    assert (answer.status, answer.body) == (status, b"there")
    assert answer.header("Location") == "http://elsewhere.invalid/x?a=b"
    assert upstream.count(script) == 1


def test_interim_replies_are_passed_over(proxy: Proxy, upstream: Upstream) -> None:
    interim = (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    )
    script = upstream.script(["drip", interim, 0.001], reply(body=b"here"))
    answer = ask(proxy.port, "GET", "/v1/x", X_Script=script)
    assert (answer.status, answer.body) == (200, b"here")
    assert not answer.header("Link")


TARGETS = [
    ("/v1/x", "/v1/x"),
    ("//evil.invalid/x", "//evil.invalid/x"),
    ("///evil.invalid/x", "///evil.invalid/x"),
    ("http://evil.invalid/v1/x?a=b", "/v1/x?a=b"),
    ("https://evil.invalid/x", "/x"),
    ("/@evil.invalid/x", "/@evil.invalid/x"),
    ("/x#fragment", "/x"),
    ("HTTP://evil.invalid/x", "/x"),
    ("/foo%0Abar", "/foo%0Abar"),
    ("/%0A", "/%0A"),
    ("/%2F%2Fevil.invalid", "/%2F%2Fevil.invalid"),
    ("/x?u=http://evil.invalid/../", "/x?u=http://evil.invalid/../"),
    ("/..", None),
    ("/v1/../../x", None),
    ("/v1/%2e%2e/%2E%2e/x", None),
    ("/v1/..%2f..%2fx", None),
    ("/v1/..%5c..%5cx", None),
    ("/v1/%252e%252e/x", None),
    ("//v1/chat/completions", "/v1/chat/completions"),
    ("///v1/chat/completions", None),
    ("/V1/Chat/Completions", None),
    ("/v1/chat%5Ccompletions", None),
    ("/v1/chat/completions//", None),
    ("/v1/chat/completions///", None),
    ("/v1/models//", None),
]


@pytest.mark.parametrize(("target", "forwarded"), TARGETS)
@pytest.mark.parametrize("prefix", ["", "/s/none/pre"])
def test_a_target_never_leaves_the_base(
    serve: Serve, upstream: Upstream, target: str, forwarded: str | None, prefix: str
) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url + prefix)
    accepts = upstream.stats()["accepts"]
    answer = ask(proxy.port, "GET", target)
    if forwarded is None:
        assert answer.status == 404
        assert answer.error["code"] == "not_found"
        assert proxy.line(answer.id)["ending"] == "refused"
        assert upstream.stats()["accepts"] == accepts + 1, "nothing reached the upstream but the question itself"
    else:
        assert answer.json["target"] == prefix + forwarded
        assert dict(answer.json["headers"])["Host"] == f"localhost:{upstream.port}"


#: Spellings that some server in between, or the upstream, could read as one of the proxy's own paths.
SPELLINGS = """
/v1/chat//completions /v1//chat/completions //v1//embeddings /V1/chat/completions /v1/CHAT/completions /Chat/Completions
/v1/chat/completions;x /v1;a=b/embeddings
/v1/x;/..;/chat/completions /v1/files/..;/chat/completions /v1/./chat/completions /v1/files/../chat/completions
/v1/files/%2e%2e/embeddings /v1/files/.%2e%2fembeddings /v1/files%5c..%5cembeddings /v1/chat%5ccompletions
/v1/chat/completions%20 /v1/chat/completions. /v1/chat/completions%3fx /v1/chat/completions%00 /v1/completions%23
/v1/chat/completions// /completions;/ /v1/embeddings/. /v1/%2564/../x /v1/chat%252fcompletions /V1/Models /v1//models/m
/api/../v1/chat/completions /v1beta/..;/v1/embeddings /v1/embedding%C5%BF
""".split()


@pytest.mark.parametrize("allowed", ["", "m1"])
@pytest.mark.parametrize("target", SPELLINGS)
def test_no_other_spelling_of_our_paths_is_forwarded(
    serve: Serve, upstream: Upstream, target: str, allowed: str
) -> None:
    proxy = serve(TARGET_BASE_URL=f"{upstream.url}/v1", **({"ALLOWED_MODELS": allowed} if allowed else {}))
    seen = upstream.count("")
    for method in ("POST", "GET", "PUT"):
        answer = ask(proxy.port, method, target, b'{"model": "m1", "prompt": "x"}')
        assert (answer.status, answer.error["code"]) == (404, "not_found"), method
    assert upstream.count("") == seen


@pytest.mark.parametrize("target", ["/v1/chat%2fcompletions", "/v1%2Fchat%2Fcompletions", "/v1/%63hat/completions%2f"])
def test_a_path_of_ours_with_escapes_is_served_as_ours_or_not_at_all(
    proxy: Proxy, upstream: Upstream, target: str
) -> None:
    seen = upstream.count("")
    answer = ask(proxy.port, "POST", target, b'{"model": "m1"}')
    assert proxy.line(answer.id)["route"] == "/v1/chat/completions"
    assert ask(proxy.port, "PUT", target, b'{"model": "m1"}').status == 404
    assert [one["target"] for one in upstream.seen("", seen)] in ([], ["/v1/chat/completions"])


def test_a_doubled_slash_in_front_is_the_same_route(proxy: Proxy, upstream: Upstream) -> None:
    for method, path in (("POST", "/v1/chat/completions"), ("POST", "/embeddings"), ("GET", "/v1/models")):
        answer = ask(proxy.port, method, "/" + path, b'{"model": "m1", "prompt": "x", "input": "x", "messages": []}')
        assert proxy.line(answer.id)["route"] in (path, "/v1" + path)
    assert upstream.last("")["target"] == "/v1/models"
    assert ask(proxy.port, "PUT", "//v1/embeddings").json["target"] == "/v1/embeddings"


@pytest.mark.parametrize("path", ["/api/chat", "/v1beta/models/x:y", "/v2/rerank"])
def test_paths_that_never_live_below_v1_leave_it_away(serve: Serve, upstream: Upstream, path: str) -> None:
    for base, root in (("", ""), ("/v1", ""), ("/pre/v1/", "/pre"), ("/v4", "/v4")):
        proxy = serve(TARGET_BASE_URL=upstream.url + base)
        assert ask(proxy.port, "GET", path).json["target"] == root + path


ODD_TARGETS = [
    "@evil.invalid/x",
    "x@evil.invalid/",
    ":80/x",
    "evil.invalid:80",
    "*",
    "?x=1",
    "http:evil/x",
    "//",
    "http://",
]


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "CONNECT"])
@pytest.mark.parametrize("target", ODD_TARGETS)
def test_no_target_names_another_host(proxy: Proxy, upstream: Upstream, method: str, target: str) -> None:
    with Client(proxy.port) as client:
        client.send(method, target)
        answer = client.answer(method)
    assert answer.status in (200, 400, 405)
    if answer.status == 200 and b'"target"' in answer.body:
        assert dict(answer.json["headers"])["Host"] == f"localhost:{upstream.port}"


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    "target",
    [
        "1foo://h/v1/chat/completions",
        "a/b://h/v1/chat/completions",
        "ftp://h/v1/chat/completions",
        "http:/v1/chat/completions",
        "v1/chat/completions",
        "x://h/v1/models",
    ],
)
def test_a_target_of_another_kind_is_refused(proxy: Proxy, upstream: Upstream, method: str, target: str) -> None:
    script = upstream.script(reply())
    answer = ask(proxy.port, method, target, b"{}", X_Script=script)
    assert answer.status in (400, 404)
    assert upstream.seen(script) == []


def test_what_is_routed_by_is_what_is_sent(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(reply())
    with Client(proxy.port) as client:
        head = f"X-Script: {script}\r\nSCRIPT_NAME: /v1/chat/compl\r\nContent-Length: 2\r\n"
        client.sock.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: door\r\n{head}\r\n{{}}".encode())
        assert client.answer().status == 400
    assert upstream.seen(script) == []


def test_this_is_no_tunnel(proxy: Proxy) -> None:
    answer = ask(proxy.port, "CONNECT", "example.org:443")
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("base", "root"),
    [("", "/v1"), ("/", "/v1"), ("/v1", "/v1"), ("/v1/", "/v1"), ("/pre", "/pre/v1"), ("/pre/v1/", "/pre/v1")],
)
def test_base_urls_of_any_kind(serve: Serve, upstream: Upstream, base: str, root: str) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url + base)
    assert ask(proxy.port, "GET", "/v1/x").json["target"] == root + "/x"
    script = upstream.script(reply(body=b'{"choices": []}'))
    for path in ("/v1/chat/completions", "/chat/completions", "/v1/chat/completions/"):
        ask(proxy.port, "POST", path, b'{"model": "m", "prompt": "x"}', X_Script=script)
        assert upstream.last(script)["target"] == root + "/chat/completions"


def test_the_same_upload_arrives(proxy: Proxy) -> None:
    body = bytes(range(256)) * 40_000
    answer = ask(proxy.port, "PUT", "/v1/files", body)
    assert (answer.json["length"], answer.json["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert dict(answer.json["headers"])["Content-Length"] == str(len(body))


def test_a_chunked_upload_goes_up_in_chunks(proxy: Proxy) -> None:
    body = b"5\r\nhello\r\n6;x=y\r\n there\r\n0\r\n\r\n"
    answer = ask(proxy.port, "POST", "/v1/files", body, Transfer_Encoding="chunked")
    headers = dict(answer.json["headers"])
    assert headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in headers
    assert answer.json["body"] == "hello there"


@pytest.mark.parametrize("size", [1, 1_000_000, 30_000_000])
def test_a_reply_that_comes_before_all_is_sent_is_read(proxy: Proxy, upstream: Upstream, size: int) -> None:
    refusal = reply("413 Too Large", b"too much", Connection="close")
    script = upstream.script(refusal, ["hold"], body="ignore")
    answer = ask(proxy.port, "POST", "/v1/files", b"x" * size, X_Script=script)
    assert (answer.status, answer.body) == (413, b"too much")
    assert upstream.left(script)
    fine = ask(proxy.port, "POST", "/v1/files", b"x")
    assert fine.status == 200
