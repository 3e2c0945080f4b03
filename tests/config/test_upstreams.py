"""The section `upstreams:` of the config file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.config import show
from argoproxy.config.kinds.argo_kind import ArgoTarget
from argoproxy.config.kinds.dashscope_kind import DashScopeTarget
from argoproxy.config.kinds.openai_kind import OpenAITarget
from argoproxy.config.kinds.plugin_kind import PluginTarget
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.routing.call import Identity
from argoproxy.protocol.routing.modes import Mode, Usage
from argoproxy.protocol.routing.route import Credentials
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.upstreams.argo.adapter import ArgoUrls
from tests.support.configs import find_mistakes_in, load_text, rules

SEVERAL = """
timeout: 5m
upstreams:
  a:
    base_url: http://a/v1
    timeout: 90s
    connect_timeout: 500ms
  b:
    base_url: http://b
    api_key: ${B_KEY}
    headers: {X-Team: "${TEAM:-none}", X-Plain: yes, Authorization: Basic x}
    verify: false
    proxy: none
    native: true
  c: {kind: argo, base_url: http://c/argoapi, argo_stream_url: http://s, user: me}
  d: {kind: "mod:Class", base_url: http://d, options: {x: 1, y: "$${B_KEY}"}, client_keys: forward, inline_images: on}
  e: {base_url: http://e, proxy: "http://p:1"}
"""


@pytest.mark.parametrize("off", ["off", "Off", "'off'"])
def test_a_mode_that_is_off_needs_no_quotes(tmp_path: Path, off: str) -> None:
    text = f"mode: {off}\nupstreams: {{a: {{base_url: 'http://a', mode: {off}}}}}\nmodels: {{m: {{mode: {off}}}}}\n"
    config = load_text(tmp_path, text)
    assert config.upstreams[0].mode is Mode.OFF
    assert rules(config)["m"].mode is Mode.OFF


def test_upstreams_are_read(tmp_path: Path) -> None:
    config = load_text(tmp_path, SEVERAL, B_KEY="k-123456")
    a, b, c, d, e = config.upstreams
    assert [one.name for one in config.upstreams] == ["a", "b", "c", "d", "e"]
    assert a.timeouts == Timeouts(0.5, 90, 90, is_connect_set=True)
    assert b.timeouts == Timeouts(10, 300, 300)
    assert isinstance(b.target, OpenAITarget)
    assert b.target.secret == Secret("k-123456")
    assert dict(b.access.headers) == {"X-Team": "none", "X-Plain": "True", "Authorization": "Basic x"}
    assert b.access.keys == (Secret("k-123456"), Secret("x"))
    assert (b.access.ca_bundle, b.access.proxies, b.is_passthrough, b.is_keyed) == ("", {}, True, True)
    urls = ArgoUrls.below("http://c/argoapi")
    assert c.target == ArgoTarget(ArgoUrls(urls.chat, "http://s", urls.embed), Identity("me"))
    assert (c.inline_images, config.gateway) == (True, c)
    assert isinstance(d.target, PluginTarget)
    assert d.target.spec.path == "mod:Class"
    assert d.target.spec.options == {"x": 1, "y": "${B_KEY}", "base_url": "http://d"}
    assert d.inline_images
    assert e.access.proxies == {"all": "http://p:1"}
    assert [one.credentials for one in config.upstreams] == [
        Credentials.FORWARDED,
        Credentials.DROPPED,
        Credentials.FORWARDED,
        Credentials.FORWARDED,
        Credentials.DROPPED,
    ]
    assert any("b.verify is false" in warning for warning in config.warnings)
    assert "k-123456" not in repr(config)


def test_secrets_are_starred_where_settings_are_shown(tmp_path: Path) -> None:
    text = SEVERAL + "  f: {base_url: 'http://u:p@f', api_key: k-plain1, headers: {api-key: k-plain2}}\n"
    load_text(tmp_path, text, B_KEY="k-123456")
    shown = "\n".join(show({"B_KEY": "k-123456"}, tmp_path))
    assert not re.search("k-123456|k-plain|u:p", shown)
    assert "${B_KEY}" in shown


HIDDEN = """
upstreams:
  a:
    base_url: http://a/v1?api-key=hide1&v=2
    headers: {Cookie: hide2, X-Auth-Request: hide3, X-Title: mine}
    auth: {class: 'a:B', options: {tokens: [hide4], password: hide5, credentials: {one: [hide6]}, scope: read}}
  monkey: {base_url: http://m, client_keys: forward}
"""


def test_secrets_are_starred_wherever_they_stand(tmp_path: Path) -> None:
    load_text(tmp_path, HIDDEN)
    shown = "\n".join(show({}, tmp_path))
    assert "hide" not in shown
    for words in (
        "?api-key=****&v=2",
        '"X-Title": "mine"',
        '"class": "a:B"',
        '"scope": "read"',
        '"http://m"',
        '"forward"',
    ):
        assert words in shown


def test_a_key_behind_the_word_bearer_is_one(tmp_path: Path) -> None:
    text = "upstreams: {a: {base_url: http://a, headers: {Authorization: 'Bearer ${K}'}}}"
    (upstream,) = load_text(tmp_path, text, K="k-123456").upstreams
    assert [secret.text for secret in upstream.secrets] == ["k-123456"]


#: Names of headers that carry secrets, and whether they take the place of a client's own key.
SECRET_HEADERS = {
    "X-Passwd": False,
    "X-Signature": False,
    "X-Auth-Id": False,
    "X-Credential": False,
    "Db-Pwd": False,
    "X-Sig": False,
    "X-My-Token": True,
    "App-Key": True,
    "Client-Secret": True,
    "Cookie": True,
    "Proxy-Authorization": True,
}


@pytest.mark.parametrize(("name", "is_key"), SECRET_HEADERS.items())
def test_a_header_that_is_starred_where_settings_are_shown_is_starred_everywhere(
    tmp_path: Path, name: str, is_key: bool
) -> None:
    config = load_text(tmp_path, f"upstreams: {{a: {{base_url: http://a, headers: {{{name}: Token hide-me}}}}}}")
    (upstream,) = config.upstreams
    assert [secret.text for secret in upstream.secrets] == ["hide-me"]
    assert upstream.is_keyed is is_key
    assert "hide-me" not in "\n".join(show({}, tmp_path)) + repr(config)


@pytest.mark.parametrize("name", ["X-Team", "X-Design", "User-Agent", "X-Region", "Accept"])
def test_other_headers_are_no_secrets(tmp_path: Path, name: str) -> None:
    (upstream,) = load_text(
        tmp_path, f"upstreams: {{a: {{base_url: http://a, headers: {{{name}: see-me}}}}}}"
    ).upstreams
    assert upstream.secrets == ()
    assert "see-me" in "\n".join(show({}, tmp_path))


def test_a_kind_may_be_a_variable(tmp_path: Path) -> None:
    (upstream,) = load_text(tmp_path, "upstreams: {a: {kind: '${KIND}', user: me}}", KIND="argo").upstreams
    assert isinstance(upstream.target, ArgoTarget)


def test_dashscope_is_read(tmp_path: Path) -> None:
    text = "upstreams: {a: {kind: dashscope, base_url: 'https://dashscope.aliyuncs.com/api/v1', api_key: k-123456,"
    (upstream,) = load_text(tmp_path, text + " mode: stream, ask_usage: true, model_map: {gpt-4: qwen-max}}}").upstreams
    assert isinstance(upstream.target, DashScopeTarget)
    assert (upstream.target.model_map, upstream.is_keyed) == ({"gpt-4": "qwen-max"}, True)
    assert upstream.target.url.endswith("/services/aigc/text-generation/generation")
    assert (upstream.mode, upstream.usage) == (Mode.STREAM, Usage.ALWAYS)


def test_a_url_of_dashscopes_native_api_is_known(tmp_path: Path) -> None:
    url = "https://dashscope.aliyuncs.com/api/v1/services/aigc/multimodal-generation/generation"
    text = f"target_base_url: {url}\ntarget_api_key: k-123456\nmodel_map: gpt-4=qwen-max, b = c\n"
    target = load_text(tmp_path, text).target
    assert isinstance(target, DashScopeTarget)
    assert (target.dashscope_urls.fixed, target.model_map) == (url, {"gpt-4": "qwen-max", "b": "c"})
    compatible = load_text(
        tmp_path, "target_base_url: https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions"
    )
    assert isinstance(compatible.target, OpenAITarget)


def test_dotenv_has_variables_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MINE=k-from-dotenv\n")
    config = load_text(tmp_path, "upstreams: {a: {base_url: http://a, api_key: '${MINE}'}}")
    target: Any = config.upstreams[0].target
    assert isinstance(target, OpenAITarget)
    assert target.secret.text == "k-from-dotenv"


MISTAKES: dict[str, tuple[str, list[str]]] = {
    "no mapping": ("upstreams: [a]", ["must be a mapping"]),
    "a member that is none": ("upstreams: {a: 5}", ["config.yaml, line 1: upstreams.a must be a mapping"]),
    "no URL": ("upstreams:\n  a: {kind: openai}", ["config.yaml, line 2: upstreams.a needs a `base_url`"]),
    "a broken URL": (
        "upstreams:\n  a:\n    base_url: localhost:80",
        ["config.yaml, line 3: upstreams.a.base_url 'localhost:80' is not a base URL: a base URL must begin with"],
    ),
    "a bad name": ("upstreams: {'a b': {kind: demo}}", ["upstreams.a b is not a valid name"]),
    "a key of another kind": ("upstreams: {a: {base_url: http://a, user: me}}", ["upstreams.a.user is not a key here"]),
    "no user": ("upstreams: {a: {kind: argo}}", ["upstreams.a needs a `user`"]),
    "a bad header": ("upstreams: {a: {base_url: http://a, headers: {Host: x}}}", ["upstreams.a.headers holds 'Host'"]),
    "a header of several lines": (
        'upstreams: {a: {base_url: http://a, headers: {X: "a\\nb"}}}',
        ["upstreams.a.headers holds a character in X"],
    ),
    "a header of nothing": (
        "upstreams: {a: {base_url: http://a, headers: {X: null}}}",
        ["upstreams.a.headers needs a text for 'X'"],
    ),
    "a header of many": ("upstreams: {a: {base_url: http://a, headers: {X: [a]}}}", ["needs a text for 'X'"]),
    "a URL for the demo": (
        "upstreams: {a: {kind: demo, base_url: http://a}}",
        ["upstreams.a.base_url is not a key here"],
    ),
    "a kind that is not set": ("upstreams: {a: {kind: '${NONE}', user: me}}", ["upstreams.a.kind", "uses ${NONE}"]),
    "no bundle": ("upstreams: {a: {base_url: http://a, verify: /none}}", ["must be true, false or the path"]),
    "both keys": (
        "upstreams: {a: {base_url: http://a, api_key: k, client_keys: forward}}",
        ["upstreams.a.client_keys is forward"],
    ),
    "itself": ("port: 5001\nupstreams: {a: {base_url: 'http://localhost:5001'}}", ["is this proxy itself"]),
    "no URL of DashScope's": (
        "upstreams: {a: {kind: dashscope, base_url: 'https://dashscope.aliyuncs.com/compatible-mode/v1'}}",
        ["upstreams.a.base_url is not a URL of DashScope"],
    ),
    "no path of a class": ("authenticate: {class: 5}", ["must name a class"]),
    "an empty map": ("upstreams: {a: {kind: dashscope, base_url: http://a, model_map: {x: ''}}}", ["model_map"]),
    "no proxy": ("upstreams: {a: {base_url: http://a, proxy: p}}", ["upstreams.a.proxy 'p' is not a base URL"]),
    "no class": ("upstreams: {a: {base_url: http://a, auth: x}}", ["upstreams.a.auth 'x' must name a class"]),
    "odd options": ("authenticate: {class: 'a:B', option: 1}", ["authenticate", "may hold only"]),
    "an unset variable in a class's options": ("listeners: {class: 'a:B', options: {x: '${NONE}'}}", ["${NONE}"]),
    "two doorkeepers": ("demo: true\nauthenticate: 'a:B'\nenable_auth: true", ["exclude each other"]),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_reported_once_with_its_path(tmp_path: Path, text: str, words: list[str]) -> None:
    (mistake,) = find_mistakes_in(tmp_path, text)
    assert all(word in mistake for word in words)
