"""The frozen Config."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.config import OPEN_ROUTES, RANDOM_KEY, Config, build
from argoproxy.config.derived import LogSettings
from argoproxy.config.kinds.openai_kind import OpenAITarget
from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.config.options.server_options import ClientOptions, RequestOptions, ServerOptions
from argoproxy.config.options.upstream_options import ThinkingOptions
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import Layer
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.access.auth import Key
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.content import ImageSettings
from argoproxy.protocol.limits.limits import LimitSettings
from argoproxy.protocol.routing.route import Credentials
from argoproxy.protocol.routing.rules import Rule, Rules, RuleSet
from argoproxy.protocol.routing.timeouts import Heartbeat, Timeouts
from argoproxy.protocol.stream.chunk_fields import AnswerModel
from argoproxy.upstreams.access import Access
from argoproxy.upstreams.base_url import BaseUrl
from tests.support.configs import NOWHERE, config, find_mistakes, layered

ROOT = Path(__file__).resolve().parents[2]


def test_defaults() -> None:
    assert config() == Config(
        server=ServerOptions(),
        client=ClientOptions(),
        requests=RequestOptions(),
        thinking=ThinkingOptions(),
        log=LogSettings("info", requests=True),
        heartbeat=Heartbeat(15.0),
        upstreams=(
            UpstreamSettings(
                name="openai",
                target=OpenAITarget(BaseUrl("https://api.openai.com/v1", "", True)),
                timeouts=Timeouts(10, 600, 600, math.inf),
                access=Access(),
                inline_images=False,
            ),
        ),
        gateway=None,
        rules=Rules(),
        default_model="",
        answer_model=AnswerModel.UPSTREAM,
        images=ImageSettings(),
        keys=(),
        requires_key=False,
        managed=None,
        limits=LimitSettings(),
        cache=None,
        open_routes=OPEN_ROUTES,
        authenticate=None,
        listeners=(),
        plugin_folders=(str(NOWHERE), str(NOWHERE)),
        allowed=AllowList(),
        cors_origins=frozenset(),
        journal=None,
        ca_bundle=None,
        warnings=(),
    )


def test_everything_from_the_environment() -> None:
    made = config(
        HOST="127.0.0.1",
        PORT="81",
        WORKERS="2",
        THREADS="3",
        WORKER_CLASS="gevent",
        DEBUG="yes",
        VERBOSE="off",
        HEARTBEAT="0",
        CONNECT_TIMEOUT="1s",
        FIRST_BYTE_TIMEOUT="2500ms",
        IDLE_TIMEOUT="3m",
        TOTAL_TIMEOUT="1h",
        TARGET_BASE_URL="http://up:8000",
        TARGET_API_KEY="sk-target",
        LLM_PARAMS="model=a,n=1,odd",
        THINK_FILTER="false",
        DEFAULT_MODEL="m",
        THINK_TAG="[",
        THINK_END_TAG="]",
        REQUESTS_CA_BUNDLE="/ca.pem",
        CURL_CA_BUNDLE="/other.pem",
        HTTP_PROXY="http://proxy:1",
        https_proxy="http://proxy:2",
        NO_PROXY="local",
    )
    assert made == replace(
        config(),
        server=ServerOptions(host="127.0.0.1", port=81, num_workers=2, threads=3, worker_class="gevent"),
        thinking=ThinkingOptions(filter=False, tag="[", end_tag="]"),
        log=LogSettings("debug", requests=False),
        heartbeat=Heartbeat(0.0),
        upstreams=(
            UpstreamSettings(
                name="openai",
                target=OpenAITarget(
                    BaseUrl("http://up:8000", "", False), Secret("Bearer sk-target"), Secret("sk-target")
                ),
                timeouts=Timeouts(1, 2.5, 180, 3600, is_connect_set=True),
                access=Access(
                    ca_bundle="/ca.pem",
                    proxies={"http": "http://proxy:1", "https": "http://proxy:2", "no": "local"},
                ),
                inline_images=False,
                credentials=Credentials.DROPPED,
            ),
        ),
        rules=Rules((RuleSet("LLM_PARAMS", (Rule("a", {"n": 1}),)),)),
        default_model="m",
        ca_bundle="/ca.pem",
        warnings=(odd := "LLM_PARAMS, group 1 (model=a): ignored 'odd', which is not key=value",),
        malformed=(odd,),
    )
    assert "sk-target" not in repr(made)


@pytest.mark.parametrize(
    ("layers", "first_byte_s", "idle_s"),
    [
        ([{"timeout": 5}], 5, 5),
        ([{"timeout": 5, "idle_timeout": 7}], 5, 7),
        ([{"timeout": 5}, {"idle_timeout": 7}], 5, 5),
        ([{"idle_timeout": 7}, {"timeout": 5}], 5, 7),
    ],
)
def test_timeout_sets_two_unless_one_is_named(layers: list[dict[str, Any]], first_byte_s: float, idle_s: float) -> None:
    timeouts = layered(*layers).upstreams[0].timeouts
    assert (timeouts.first_byte_s, timeouts.idle_s) == (first_byte_s, idle_s)


@pytest.mark.parametrize(
    ("layers", "connect_s"),
    [
        ([{"timeout": 2}], 2),
        ([{"timeout": 20}], 10),
        ([{"first_byte_timeout": 2}], 10),
        ([{"timeout": 2}, {"connect_timeout": 30}], 30),
    ],
)
def test_connecting_takes_no_longer_than_the_time_out_unless_it_says_so(
    layers: list[dict[str, Any]], connect_s: float
) -> None:
    assert layered(*layers).upstreams[0].timeouts.connect_s == connect_s


@pytest.mark.parametrize(
    ("environ", "mistake"),
    [
        ({"PORT": "abc"}, "environment: PORT 'abc' must be a whole number from 1 to 65535"),
        ({"PORT": "0"}, "environment: PORT '0' must be a whole number from 1 to 65535"),
        ({"PORT": "70000"}, "environment: PORT '70000' must be a whole number from 1 to 65535"),
        (
            {"MODE": "strem"},
            "environment: MODE 'strem' must be one of off, stream, non_stream; did you mean \"stream\"?",
        ),
        ({"MODEL_MAP": "a"}, "environment: MODEL_MAP 'a' must be a list of name=new name"),
        ({"WORKERS": "-1"}, "environment: WORKERS '-1' must be a whole number from 1 to 1000, or auto"),
        (
            {"WORKER_CLASS": "gevnt"},
            "environment: WORKER_CLASS 'gevnt' must be one of gthread, gevent, sync; did you mean \"gevent\"?",
        ),
        ({"WORKER_CLASS": "uvicorn"}, "environment: WORKER_CLASS 'uvicorn' must be one of gthread, gevent, sync"),
        ({"DEBUG": "maybe"}, "environment: DEBUG 'maybe' must be true or false"),
        (
            {"API_REQUEST_TIMEOUT": "fast"},
            "environment: API_REQUEST_TIMEOUT 'fast' must be a duration, such as 90 (seconds), 90s or 60000ms",
        ),
        (
            {"API_REQUEST_TIMEOUT": "0"},
            "environment: API_REQUEST_TIMEOUT '0' must be more than 0 and at most 1000000 seconds",
        ),
        (
            {"IDLE_TIMEOUT": "1000h"},
            "environment: IDLE_TIMEOUT '1000h' must be more than 0 and at most 1000000 seconds",
        ),
        (
            {"TARGET_BASE_URL": "up:8000/v1"},
            "environment: TARGET_BASE_URL 'up:8000/v1' is not a base URL: "
            'a base URL must begin with http:// or https://; did you mean "http://up:8000/v1"?',
        ),
        (
            {"TARGET_BASE_URL": "ftp://up"},
            "environment: TARGET_BASE_URL 'ftp://up' is not a base URL: a base URL must begin with http:// or https://",
        ),
        (
            {"TARGET_BASE_URL": "http://"},
            "environment: TARGET_BASE_URL 'http://' is not a base URL: a base URL must have a host",
        ),
        (
            {"OPENAI_API_KEY": "two words"},
            "environment: OPENAI_API_KEY must not contain blanks or characters that headers cannot carry",
        ),
        (
            {"TARGET_BASE_URL": "http://localhost:5000/v1"},
            "the upstream 'http://localhost:5000/v1' is this proxy itself; set another URL",
        ),
        (
            {"TARGET_BASE_URL": "http://127.0.0.1/", "PORT": "80"},
            "the upstream 'http://127.0.0.1' is this proxy itself; set another URL",
        ),
        (
            {"TARGET_BASE_URL": "https://[::1]/", "PORT": "443"},
            "the upstream 'https://[::1]' is this proxy itself; set another URL",
        ),
        ({"SSL_CERT_FILE": "/missing.pem"}, "environment: the CA bundle '/missing.pem' does not exist"),
        ({"CONFIG_PATH": "missing.yaml"}, "the config file 'missing.yaml' does not exist"),
    ],
)
def test_what_is_refused(environ: dict[str, str], mistake: str) -> None:
    assert find_mistakes(**environ) == [mistake]


def test_all_mistakes_are_reported_together() -> None:
    assert len(find_mistakes(PORT="x", DEBUG="x", THINK_FILTER="x")) == 3


def test_a_missing_bundle_does_not_matter_without_tls() -> None:
    assert config(SSL_CERT_FILE="/missing.pem", DEMO="1").ca_bundle == "/missing.pem"


ANN, BOB = Key("ann", Secret("k-ann")), Key("key-2", Secret("k-bob"))


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("k-ann", (Key("key-1", Secret("k-ann")),)),
        ("ann=k-ann, k-bob", (ANN, BOB)),
        ("ann=k=b=c", (Key("ann", Secret("k=b=c")),)),
        (["ann=k-ann", "k-bob"], (ANN, BOB)),
        ({"ann": "k-ann", "key-2": "k-bob"}, (ANN, BOB)),
    ],
)
def test_api_keys(value: Any, keys: tuple[Key, ...]) -> None:
    made = layered({"enable_auth": True, "api_key_secret": value})
    assert made.keys == keys
    assert "k-ann" not in repr(made)
    assert layered({"api_key_secret": value}).keys == (), "only where they are asked for"


def test_a_key_that_was_made_at_the_start_counts_where_none_is_set() -> None:
    layers, environ = [Layer("x", {"enable_auth": True})], {RANDOM_KEY: "sk-made"}
    assert build(layers, environ).keys == (Key("key-1", Secret("sk-made")),)
    assert build([], environ).keys == ()
    assert build(layers, {}).keys == ()
    assert build([Layer("x", {"enable_auth": True, "api_key_secret": "own"})], environ).keys[0].secret.text == "own"


@pytest.mark.parametrize(
    "value", ["", "ann=x yz", "a,a", "ann=a,ann=b", [], {}, {"ann": ""}, "schl\u00fcssel", {"ann": "k", "bob": "k"}]
)
def test_api_keys_that_cannot_be_used(value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        layered({"api_key_secret": value})
    assert "api_key_secret" in caught.value.mistakes[0]
    assert "x yz" not in caught.value.mistakes[0]


def test_which_models_may_be_used() -> None:
    assert layered({"allowed_models": "gpt-4o, qwen*"}).allowed == AllowList(("gpt-4o", "qwen*"))
    assert layered({"allowed_models": ["gpt-4o"]}).allowed == AllowList(("gpt-4o",))
    assert layered({"metrics_open": True}).open_routes == (*OPEN_ROUTES, "/metrics")


def test_origins_of_web_pages() -> None:
    made = config(CORS_ORIGINS="https://App.example/, http://localhost:3000,app://obsidian.md,null")
    assert made.cors_origins == {"https://app.example", "http://localhost:3000", "app://obsidian.md", "null"}
    assert config(CORS_ORIGINS="*").cors_origins == {"*"}


@pytest.mark.parametrize("text", ["app.example", "https://app.example/page", "https://*.example", "https://", ","])
def test_an_origin_that_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        config(CORS_ORIGINS=text)
