from __future__ import annotations

import pytest

from argoproxy.errors import NotFound
from argoproxy.upstreams.base_url import BaseUrl, validate_path


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("http://up", "/v1/models", "http://up/v1/models"),
        ("http://up/", "/v1/models", "http://up/v1/models"),
        ("http://up:8000/v1", "/v1/models", "http://up:8000/v1/models"),
        ("http://up/v1/", "/v1/models", "http://up/v1/models"),
        ("https://api.openai.com/v1/", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("http://up/prefix", "/v1/models", "http://up/prefix/v1/models"),
        ("http://up/prefix/", "/v1/models", "http://up/prefix/v1/models"),
        ("http://up/prefix/v1", "/v1/models", "http://up/prefix/v1/models"),
        ("http://up/api/v4/", "/v1/models", "http://up/api/v4/models"),
        ("http://up/v1beta/openai/", "/v1/models", "http://up/v1beta/openai/models"),
        ("http://up/compatible-mode/v1/chat/completions", "/v1/models", "http://up/compatible-mode/v1/models"),
        ("http://up/v1/completions/", "/v1/models", "http://up/v1/models"),
        ("http://up/v1/embeddings", "/v1/models", "http://up/v1/models"),
        ("http://up/chat/completions", "/v1/models", "http://up/v1/models"),
        ("http://up/v1", "/other/path", "http://up/v1/other/path"),
        ("http://up", "/other/path", "http://up/other/path"),
        ("http://up/v1", "/v1", "http://up/v1"),
        ("http://up/v1", "/v1/", "http://up/v1/"),
        ("http://up", "/v1", "http://up/v1"),
        ("http://up/v1", "/v10/x", "http://up/v10/x"),
        ("http://up/v1", "/v2/rerank", "http://up/v2/rerank"),
        ("http://up/v1", "/api/chat", "http://up/api/chat"),
        ("http://up/v1/", "/v1beta/models/x:y", "http://up/v1beta/models/x:y"),
        ("http://up/pre/v1", "/api/tags", "http://up/pre/api/tags"),
        ("http://up/pre", "/api/tags", "http://up/pre/api/tags"),
        ("http://up/v4", "/api/tags", "http://up/v4/api/tags"),
        ("http://up/v1/openai", "/api/tags", "http://up/v1/openai/api/tags"),
        ("http://v1", "/api/tags", "http://v1/api/tags"),
        ("http://up/v1", "/apis/x", "http://up/v1/apis/x"),
        ("http://up/v1", "/v1/api/x", "http://up/v1/api/x"),
        ("http://up/view", "/v1/x", "http://up/view/v1/x"),
        ("http://user:pass@up/v1", "/v1/x", "http://up/v1/x"),
        ("http://up", "//evil/x", "http://up//evil/x"),
        ("http://up", "@evil/x", "http://up/@evil/x"),
        ("http://up", ":80/x", "http://up/:80/x"),
        ("http://up", "*", "http://up/*"),
        ("http://up", "", "http://up/"),
        ("http://up", "/a%2Fb%2f%20", "http://up/a%2Fb%2f%20"),
        ("http://up", '/a"<>|^`{}[]\\', 'http://up/a"<>|^`{}[]\\'),
        ("http://up", "/caf\xc3\xa9", "http://up/caf%C3%A9"),
        ("http://up/ünder v", "/x", "http://up/%C3%BCnder%20v/x"),
        ("http://[::1]:80/v1", "/v1/x", "http://[::1]:80/v1/x"),
    ],
)
def test_where_a_path_leads(base: str, path: str, url: str) -> None:
    assert BaseUrl.parse(base).url(path, "") == url


def test_queries_are_kept_with_their_escapes() -> None:
    assert BaseUrl.parse("http://up").url("/x", "a=%2f&b=%zz+c") == "http://up/x?a=%2f&b=%zz+c"
    azure = BaseUrl.parse("http://up/openai?api-version=1")
    assert azure.url("/v1/x", "") == "http://up/openai/v1/x?api-version=1"
    assert azure.url("/v1/x", "a=b") == "http://up/openai/v1/x?api-version=1&a=b"


@pytest.mark.parametrize(
    "text",
    ["", "up", "up:8000", "localhost:8000/v1", "ftp://up", "http://", "http:///v1", "http://up:x", "http://up:0"],
)
def test_what_is_no_base_url(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 the message is urllib's in some cases
        BaseUrl.parse(text)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/files",
        "/v1/files/a..b",
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/chat/completions",
        "/v1/models/Org/Name:7B",
        "/v1/models/org%2FName",
        "/v1/models/",
        "/v1/models/org%0AName",
        "/v1/models/org%2FName/",
        "/foo%0Abar",
        "/V2/Models",
        "//evil/x",
        "/v1/chat/completions/extra",
        "/v1/batches%3Fa",
        "/v1/models/name;x=y",
        "/v1/models/name%3Fx",
        "/v1/files;x",
    ],
)
def test_paths_that_may_be_forwarded(path: str) -> None:
    assert validate_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "/..",
        "/../etc",
        "/v1/../x",
        "/v1/./x",
        "/v1/%2e%2e/x",
        "/v1/%2E./x",
        "/v1/..%2fx",
        "/v1/%252e%252e/x",
        "/v1\\..\\x",
        "/v1/%5c..%5cx",
        "///v1/chat/completions",
        "//v1//chat/completions",
        "/v1//chat/completions",
        "/v1/chat//completions",
        "/V1/chat/completions",
        "/v1/Chat/Completions",
        "/v1/chat%2Fcompletions",
        "/v1%2fchat/completions",
        "/v1/chat/%63ompletions",
        "/v1/chat\\completions",
        "/v1/%20/chat/completions",
        "//Chat/completions",
        "/v1/chat/completions;x=y",
        "/v1/chat;x/completions",
        "/v1;x/chat/completions",
        "/;x/v1/embeddings",
        "/v1/chat/completions%3Fx",
        "/v1/chat/completions%23x",
        "/v1/chat/completions%00",
        "/v1/chat/completions%00.txt",
        "/v1/chat/completions%20",
        "/v1/chat/completions.",
        "/v1/chat/completions%2e",
        "/v1/chat./completions",
        "/v1/.../embeddings",
        "/v1/embedding%C5%BF",
        "/v1/%EF%BD%83hat/completions",
        "/v1/files/..;/chat/completions",
        "/v1/files/..%3b/chat/completions",
        "/v1/files/.%20./../x",
        "/v1/files/..%09/x",
        "/v1/chat%252Fcompletions",
        "/v1/chat%25252525252Fcompletions",
        "/x" + "%25" + "25" * 4000 + "2f",
        "/Embeddings",
        "/v1//models",
        "/V1/models/x",
        "/v1//models/x",
        "/v1/chat/completions//",
        "/v1/chat/completions///",
        "/chat/completions//",
        "/v1/embeddings//",
        "/v1/models//",
        "/models//",
        "/v1/models//x",
    ],
)
def test_paths_that_hide_where_they_lead(path: str) -> None:
    with pytest.raises(NotFound):
        validate_path(path)


@pytest.mark.parametrize("path", ["//v1/chat/completions", "//chat/completions/", "//v1/models/x", "//embeddings"])
def test_a_doubled_slash_in_front_of_a_path_of_ours_is_one(path: str) -> None:
    assert validate_path(path) == path[1:]
