"""Whether plain requests are read, and answered, as Gunicorn itself would."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

from argoproxy.workers.plain_request import (
    EnvironMaker,
    LateErrors,
    PlainParser,
    PlainRequest,
    PlainResponse,
    read_plain,
)

CASES = 10_000
TRUSTED, STRANGER = ("127.0.0.1", 5000), ("192.0.2.7", 5000)
#: The first ones of each are regular: see `pick`.
METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "get", "PO ST")
TARGETS = (
    *("/", "/v1/models", "/v1/models?", "/v1/x?a=b&c=%2F", "/a//b;c=d", "/v1:x", "/?", "/a_b", "/-._~@+,;=:"),
    *("//x/y", "/a?b?c", "/a%20b", "/a#b", "*", "http://x/y", "x:1", "/\xe4", "/[a]", "/a?[", "", "/%", "/a\tb"),
    "/" + "x" * 5000,
)
VERSIONS = ("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ")
NAMES = (
    *("Connection", "Accept", "X-A", "x-a", "X-Forwarded-Proto", "X-Forwarded-Ssl", "X-Forwarded-For", "Script-Name"),
    *("Host", "host", "Content-Type", "Content-Length", "X_A", "Expect", "Transfer-Encoding", "SCRIPT_NAME", "Upgrade"),
    *("X A", "", "X\x00", "Content-Length ", "Trailer", "TE"),
)
VALUES = (
    *("x", "close", "Keep-Alive", "keep-alive, x", "https", "http", "on", "a  b", "127.0.0.1:80", "off"),
    *("0", "3", "+3", "3_0", "03", "chunked", "gzip", "100-continue"),
    *("", " ", "a b ", "\ta", "a\tb", "\xe4", "a\x7f", "a,b", ":"),
)
SEPARATORS = (": ", ":", ":  ", " : ", ":\t")
ENDS = ("\r\n", "\n", "\r\n ", "\r\n\r\n")
BODIES = (b"", b"", b"abc", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n")


class Sent:
    """What a client has sent; what is sent to it is kept."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.answered: list[bytes] = []

    def recv(self, size: int) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def sendall(self, data: bytes) -> None:
        self.answered.append(data)


def make_config(**settings: Any) -> Config:
    config = Config()
    for name, value in {"limit_request_line": 8190, "limit_request_field_size": 16_384, **settings}.items():
        config.set(name, value)
    return config


CONFIG = make_config()


def pick(rng: random.Random, choices: Sequence[str], regular: int) -> str:
    """Return one of the first, which are regular, or now and then any other."""
    return rng.choice(choices[: regular if rng.random() < 0.96 else len(choices)])


def random_request(rng: random.Random) -> bytes:
    """Return a request; many are odd in one place."""
    fields = [
        pick(rng, NAMES, 8) + pick(rng, SEPARATORS, 2) + pick(rng, VALUES, 8) + pick(rng, ENDS, 1)
        for _ in range(rng.randrange(5))
    ]
    body = rng.choice(BODIES)
    if body:
        fields.append(f"Content-Length: {len(body)}\r\n" if rng.random() < 0.9 else "")
    line = f"{pick(rng, METHODS, 7)} {pick(rng, TARGETS, 9)} {pick(rng, VERSIONS, 1)}\r\n"
    return f"{line}{''.join(fields)}\r\n".encode("latin-1") + body


def environ_of(created: dict[str, Any]) -> dict[str, Any]:
    """Return an environ without the objects that are made anew for each request, its fields in their order."""
    made_anew = ("wsgi.input", "wsgi.errors", "wsgi.early_hints", "gunicorn.socket")
    assert all(name in created for name in made_anew)
    return {name: value for name, value in created.items() if name not in made_anew}


def read_by_gunicorn(data: bytes, client: Any, server: Any) -> tuple[Request, dict[str, Any]]:
    sock = Sent(data)
    request = next(RequestParser(CONFIG, sock, client))
    environ = wsgi.create(request, sock, client, server, CONFIG)[1]
    environ["wsgi.multithread"] = True
    return request, environ


class Kept:
    """A kept connection, on which requests are read as plain ones where they are."""

    def __init__(self, client: Any, server: Any) -> None:
        self.sock = Sent(b"")
        self.parser = PlainParser(CONFIG, self.sock, client)
        self.environs = EnvironMaker(CONFIG, self.sock, client, server)

    def read(self, data: bytes) -> tuple[Request, dict[str, Any]] | None:
        """Return what a plain request becomes; None if it is not plain."""
        plain = read_plain(data)
        if plain is None:
            return None
        self.parser.expect(plain)
        if len(plain.fields) > CONFIG.limit_request_fields:
            return None
        request = next(self.parser)
        if not isinstance(request, PlainRequest):
            return None
        return request, self.environs.make(request, PlainResponse(request, self.sock, CONFIG))


CONNECTIONS = ((TRUSTED, ("127.0.0.1", 8000)), (STRANGER, ("::1", 8000, 0, 0)), ("", "/run/argoproxy.sock"))


@pytest.mark.parametrize(("seed", "client", "server"), [(seed, *ends) for seed, ends in enumerate(CONNECTIONS, 2)])
def test_a_plain_request_is_read_as_gunicorn_reads_it(seed: int, client: Any, server: Any) -> None:
    rng, plain, left = random.Random(seed), 0, 0
    kept = Kept(client, server)
    for _ in range(CASES):
        data = random_request(rng)
        try:
            read = kept.read(data)
        except Exception as error:  # noqa: BLE001 two fields for the scheme that contradict each other
            with pytest.raises(type(error)):
                read_by_gunicorn(data, client, server)
            kept = Kept(client, server)
            continue
        if read is None:
            left += 1
            continue
        plain += 1
        request, environ = read
        expected, expected_environ = read_by_gunicorn(data, client, server)
        assert environ_of(environ) == environ_of(expected_environ), data
        assert fields_of(environ) == fields_of(expected_environ), data
        assert state_of(request) == state_of(expected), data
        assert request.should_close() == expected.should_close(), data
        assert request.body.read() == expected.body.read(), data
        assert kept.parser.finish_body(deadline=None)
        assert kept.parser.unreader.take_buffered() == b""
        if request.should_close():
            kept = Kept(client, server)
    assert plain > CASES / 10
    assert left > CASES / 10


def fields_of(environ: dict[str, Any]) -> list[str]:
    """Return the variables of the fields in their order, in which they are passed on."""
    return [name for name in environ if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")]


def state_of(request: Request) -> dict[str, Any]:
    names = (
        *("method", "uri", "path", "query", "fragment", "version", "headers", "trailers", "scheme", "must_close"),
        *("peer_addr", "remote_addr", "proxy_protocol_info", "_expected_100_continue"),
    )
    return {name: getattr(request, name) for name in names}


def test_an_unread_body_is_discarded() -> None:
    kept = Kept(*CONNECTIONS[0])
    assert kept.read(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    assert kept.parser.finish_body(deadline=None)
    read = kept.read(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read
    assert (read[0].path, read[0].body.read()) == ("/next", b"")


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        (b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", {"limit_request_fields": 2}),
        (b"GET /" + b"x" * 100 + b" HTTP/1.1\r\nA: 1\r\n\r\n", {"limit_request_line": 50}),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 100 + b"\r\n\r\n", {"limit_request_field_size": 50}),
    ],
)
def test_lower_limits_of_gunicorn_are_kept(data: bytes, settings: dict[str, Any]) -> None:
    plain = read_plain(data)
    assert plain
    parser = PlainParser(make_config(**settings), Sent(b""), TRUSTED)
    parser.expect(plain)
    with pytest.raises(Exception, match=r"(?i)limit|exceed|size|large"):
        next(parser)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"]
)
def test_what_is_incomplete_or_followed_by_more_is_not_plain(data: bytes) -> None:
    assert read_plain(data) is None


STATUSES = ("200 OK", "204 No Content", "304 Not Modified", "404", "500 \xe4", "200 O\nK", "2000 x")
FIELDS = (
    *(
        ("Content-Type", "a/b"),
        ("content-length", "5"),
        ("Content-Length", "5"),
        ("Content-Length", "0"),
        ("X-A", " b "),
    ),
    *(
        ("Connection", "close"),
        ("Connection", "upgrade"),
        ("Upgrade", "websocket"),
        ("Upgrade", "h2c"),
        ("Date", "now"),
    ),
    *(
        ("Server", "x"),
        ("Transfer-Encoding", "chunked"),
        ("X A", "b"),
        ("X-B", "b\nc"),
        ("X-C", "\xe4"),
        ("Keep-Alive", "5"),
    ),
)
PIECES = (b"", b"a", b"hello", b"hello world", b"x" * 70_000)


def random_answer(rng: random.Random) -> tuple[str, list[tuple[str, str]], list[bytes]]:
    status = rng.choice(STATUSES[: rng.choice((1, len(STATUSES)))])
    fields = [rng.choice(FIELDS[: rng.choice((5, len(FIELDS)))]) for _ in range(rng.randrange(4))]
    return status, fields, [rng.choice(PIECES) for _ in range(rng.randrange(4))]


def answer(response: Any, sock: Sent, told: tuple[str, list[tuple[str, str]], list[bytes]]) -> Iterator[Any]:
    """Yield what becomes of an answer, up to an error."""
    status, fields, pieces = told
    try:
        response.start_response(status, list(fields))
        for piece in pieces:
            response.write(piece)
        response.close()
        yield response.should_close(), response.sent, response.headers_sent, response.headers
    except Exception as error:  # noqa: BLE001 compared
        yield type(error), str(error)
    yield b"".join(sock.answered)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_answers_are_gunicorn_s(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gunicorn.util.http_date", lambda *_: "now")
    rng, data = random.Random(3), f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for _ in range(CASES // 4):
        told = random_answer(rng)
        kept, sock = Kept(*CONNECTIONS[0]), Sent(b"")
        read = kept.read(data)
        assert read
        expected_request, _ = read_by_gunicorn(data, *CONNECTIONS[0])
        ours = list(answer(PlainResponse(read[0], kept.sock, CONFIG), kept.sock, told))
        assert ours == list(answer(wsgi.Response(expected_request, sock, CONFIG), sock, told)), told
        assert len(kept.sock.answered) <= len(sock.answered)


def test_a_small_answer_is_one_send() -> None:
    kept = Kept(*CONNECTIONS[0])
    read = kept.read(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read
    response = PlainResponse(read[0], kept.sock, CONFIG)
    response.start_response("200 OK", [("Content-Length", "5")])
    response.write(b"hello")
    response.close()
    assert len(kept.sock.answered) == 1


def test_errors_of_the_application_go_where_gunicorn_s_log_goes(capsys: pytest.CaptureFixture[str]) -> None:
    errors = LateErrors(CONFIG)
    errors.write("a")
    errors.writelines(["b", "c"])
    errors.flush()
    assert capsys.readouterr().err == "abc"
