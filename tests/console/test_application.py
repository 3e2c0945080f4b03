"""Who may ask the console, and what its answers say."""

from __future__ import annotations

import io
import json
import re
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from argoproxy.console.api_routes import ApiAnswer
from argoproxy.console.application import STATIC, ConsoleApplication

TOKEN = "token-of-the-console-0123456789"
BEARER: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}
JSON: dict[str, Any] = {**BEARER, "CONTENT_TYPE": "application/json; charset=utf-8"}


class SeenRoutes:
    """Answers what it was asked."""

    def read(self, path: str, query: str, known: str) -> ApiAnswer:
        return ApiAnswer(304 if known else 200, (), f"{path}?{query}".encode())

    def act(self, path: str, body: bytes) -> ApiAnswer:
        return ApiAnswer(200, (), path.encode() + body)


def ask(path: str, method: str = "GET", body: bytes = b"", **fields: Any) -> tuple[int, dict[str, str], bytes]:
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, "HTTP_HOST": "localhost:5001"}
    environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), **fields}
    setup_testing_defaults(environ)
    told: list[Any] = []
    application = ConsoleApplication(SeenRoutes(), TOKEN, ["Console.Example"])
    pieces = application(environ, lambda status, headers: told.extend((status, headers)))
    status, headers = told
    return int(status.split()[0]), dict(headers), b"".join(pieces)


@pytest.mark.parametrize("file", [file for file in STATIC.iterdir() if file.name != "index.html"])
def test_the_page_has_its_files_and_asks_for_no_others(file: Any) -> None:
    status, headers, body = ask(f"/{file.name}")
    assert (status, body) == (200, file.read_bytes())
    assert headers["Content-Type"].partition("/")[0] in ("text", "image")
    text = body.decode()
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", text)


def test_the_page_needs_no_token_and_runs_nothing_foreign() -> None:
    status, headers, body = ask("/")
    assert (status, body) == (200, (STATIC / "index.html").read_bytes())
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


def test_data_needs_the_token() -> None:
    assert ask("/api/models", QUERY_STRING="a=b", **BEARER)[::2] == (200, b"/api/models?a=b")
    assert ask("/api/models", **BEARER, HTTP_IF_NONE_MATCH='"x"')[::2] == (304, b"/api/models?")
    for sent in ("", TOKEN, f"Bearer {TOKEN}x", "Bearer ", f"bearer {TOKEN}", "Bearer \xff"):
        status, headers, body = ask("/api/models", HTTP_AUTHORIZATION=sent)
        assert (status, headers["Cache-Control"]) == (401, "no-store")
        assert TOKEN not in body.decode()
        assert json.loads(body)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:5001", 200),
        ("[::1]:5001", 200),
        ("console.example:443", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("[::1]evil.example", 403),
        ("localhost:1,evil.example", 403),
        ("localhost:5001:1", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_only_its_own_names_lead_to_it(host: str, status: int) -> None:
    for path in ("/", "/api/models"):
        assert ask(path, **BEARER, HTTP_HOST=host)[0] == status


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)]
)
def test_other_sites_are_refused(site: str, status: int) -> None:
    assert ask("/api/models", **BEARER, HTTP_SEC_FETCH_SITE=site)[0] == status


def test_what_acts_takes_json_alone() -> None:
    assert ask("/api/try", "POST", b"{}", **JSON)[::2] == (200, b"/api/try{}")
    assert ask("/api/try", "POST", b"{}", **BEARER, CONTENT_TYPE="text/plain")[0] == 400
    assert ask("/api/try", "POST", b"{}", **{**JSON, "CONTENT_LENGTH": "many"})[0] == 400
    assert ask("/api/try", "POST", b"", **{**JSON, "CONTENT_LENGTH": str(10**9)})[0] == 413
    assert ask("/api/try", "POST", b"", **{**JSON, "CONTENT_LENGTH": "9" * 5000})[0] == 413
    assert ask("/api/try", "POST", b"{}", CONTENT_TYPE="application/json")[0] == 401


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/nothing", "GET", 404), ("/../application.py", "GET", 404), ("/", "POST", 405), ("/api/models", "DELETE", 405)],
)
def test_there_is_nothing_else(path: str, method: str, status: int) -> None:
    assert ask(path, method, **JSON)[0] == status


def test_a_head_has_no_body() -> None:
    status, headers, body = ask("/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 100
