from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.config import OPEN_ROUTES, RANDOM_KEY, Config, build, load
from argoproxy.config.derived import LogSettings
from argoproxy.config.kinds.argo_kind import ArgoTarget
from argoproxy.config.kinds.demo_kind import DemoTarget
from argoproxy.config.kinds.openai_kind import OpenAITarget
from argoproxy.config.kinds.upstream_settings import UpstreamSettings
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import SNAPSHOT_VARIABLE, Layer, publish_snapshot
from argoproxy.config.values.server_options import ClientOptions, RequestOptions, ServerOptions
from argoproxy.config.values.settings import IGNORED
from argoproxy.config.values.upstream_options import ThinkingOptions
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.access.auth import Key
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.content import ImageSettings
from argoproxy.protocol.routing.call import Identity
from argoproxy.protocol.routing.router import Credentials
from argoproxy.protocol.routing.rules import Rule, Rules, RuleSet
from argoproxy.protocol.routing.timeouts import Heartbeat, Timeouts
from argoproxy.protocol.stream.chunk_fields import AnswerModel
from argoproxy.upstreams.access import Access
from argoproxy.upstreams.argo.adapter import ArgoUrls
from argoproxy.upstreams.base_url import BaseUrl

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = Path("/nonexistent")


def config(**environ: str) -> Config:
    return load(environ, NOWHERE)


def layered(*layers: dict[str, Any]) -> Config:
    return build([Layer(f"layer {place}", values) for place, values in enumerate(layers)], {})


def mistakes(**environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(**environ)
    return list(caught.value.mistakes)


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
        open_routes=OPEN_ROUTES,
        authenticate=None,
        listeners=(),
        class_folders=(str(NOWHERE), str(NOWHERE)),
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
    assert made == Config(
        server=ServerOptions(host="127.0.0.1", port=81, num_workers=2, threads=3, worker_class="gevent"),
        client=ClientOptions(),
        requests=RequestOptions(),
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
        gateway=None,
        rules=Rules((RuleSet("LLM_PARAMS", (Rule("a", {"n": 1}),)),)),
        default_model="m",
        answer_model=AnswerModel.UPSTREAM,
        images=ImageSettings(),
        keys=(),
        requires_key=False,
        open_routes=OPEN_ROUTES,
        authenticate=None,
        listeners=(),
        class_folders=(str(NOWHERE), str(NOWHERE)),
        allowed=AllowList(),
        cors_origins=frozenset(),
        journal=None,
        ca_bundle="/ca.pem",
        warnings=(odd := "LLM_PARAMS, group 1 (model=a): ignored 'odd', which is not key=value",),
        malformed=(odd,),
    )
    assert "sk-target" not in repr(made)


@pytest.mark.parametrize(
    ("layers", "port"),
    [
        ([{}], 5000),
        ([{}, {"port": 1}], 1),
        ([{"PORT": "2"}, {"port": 1}], 2),
        ([{"port": 3}, {"PORT": "2"}, {"port": 1}], 3),
    ],
)
def test_a_stronger_layer_wins(layers: list[dict[str, Any]], port: int) -> None:
    assert layered(*layers).server.port == port


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
    ("environ", "root", "authorization", "warnings"),
    [
        ({"DEMO": "true"}, None, "", []),
        ({"DEMO": "false"}, "https://api.openai.com/v1", "", []),
        ({"OPENAI_API_KEY": "sk-a"}, "https://api.openai.com/v1", "Bearer sk-a", []),
        ({"OPENAI_BASE_URL": "http://o/v1", "OPENAI_API_KEY": "sk-a"}, "http://o/v1", "Bearer sk-a", []),
        ({"TARGET_BASE_URL": "http://t/"}, "http://t", "", []),
        ({"TARGET_BASE_URL": "http://t/", "TARGET_API_KEY": "sk-t"}, "http://t", "Bearer sk-t", []),
        (
            {"TARGET_BASE_URL": "http://t/", "OPENAI_API_KEY": "sk-a"},
            "http://t",
            "",
            ["OPENAI_API_KEY (environment) is not sent to this upstream; set TARGET_API_KEY for it"],
        ),
        (
            {"TARGET_API_KEY": "sk-t"},
            "https://api.openai.com/v1",
            "",
            ["TARGET_API_KEY (environment) is not sent to this upstream; set OPENAI_API_KEY for it"],
        ),
        (
            {"TARGET_BASE_URL": "http://t/", "OPENAI_BASE_URL": "http://o"},
            "http://t",
            "",
            ["OPENAI_BASE_URL (environment) is not used: TARGET_BASE_URL (environment) takes precedence"],
        ),
        (
            {"DEMO": "1", "TARGET_BASE_URL": "http://t/"},
            None,
            "",
            ["TARGET_BASE_URL (environment) is not used: DEMO (environment) takes precedence"],
        ),
        (
            {"DEMO": "1", "TARGET_BASE_URL": "http://t/", "ARGOPROXY_FLAGS": "TARGET_BASE_URL"},
            "http://t",
            "",
            ["DEMO (environment) is not used: TARGET_BASE_URL (flag) takes precedence"],
        ),
        (
            {"OPENAI_BASE_URL": "http://o", "TARGET_BASE_URL": "http://t/", "ARGOPROXY_FLAGS": "OPENAI_BASE_URL"},
            "http://t",
            "",
            ["OPENAI_BASE_URL (flag) is not used: TARGET_BASE_URL (environment) takes precedence"],
        ),
        ({"TARGET_BASE_URL": "http://me:p%40ss@t/"}, "http://t", "Basic bWU6cEBzcw==", []),
        ({"TARGET_BASE_URL": "http://me@t/", "TARGET_API_KEY": "k"}, "http://t", "Bearer k", []),
    ],
)
def test_which_upstream_answers(
    environ: dict[str, str], root: str | None, authorization: str, warnings: list[str]
) -> None:
    made = config(**environ)
    assert isinstance(made.target, OpenAITarget | DemoTarget)
    assert (made.target.base.root if isinstance(made.target, OpenAITarget) else None) == root
    assert (made.target.authorization.text if isinstance(made.target, OpenAITarget) else "") == authorization
    assert list(made.warnings) == warnings


DEV, PROD = "https://apps-dev.inside.anl.gov/argoapi", "https://apps.inside.anl.gov/argoapi"
DEV_URLS = ArgoUrls()


@pytest.mark.parametrize(
    ("layers", "urls", "warnings"),
    [
        ([{"user": "me"}], DEV_URLS, 0),
        ([{"ARGO_USER": "me"}], DEV_URLS, 0),
        ([{"user": "me"}, {"openai_base_url": "http://o"}], DEV_URLS, 1),
        ([{"openai_base_url": "http://o"}, {"user": "me"}], DEV_URLS, 1),
        ([{"user": "me", "argo_url": "http://a/chat/"}], ArgoUrls("http://a/chat/"), 0),
        ([{"user": "me"}, {"argo_stream_url": "http://a/s"}], ArgoUrls(stream="http://a/s"), 0),
        ([{"user": "me", "argo_base_url": PROD + "/"}], ArgoUrls.below(PROD), 0),
        ([{"user": "me", "argo_base_url": PROD, "argo_embedding_url": "http://e"}], ArgoUrls.below(PROD), "http://e"),
        ([{"user": "me", "argo_base_url": PROD}, {"argo_embedding_url": "http://e"}], ArgoUrls.below(PROD), 0),
        ([{"user": "me", "argo_url": "http://a"}, {"target_base_url": "http://t"}], ArgoUrls("http://a"), 1),
        ([{"user": "me", "argo_url": "http://a", "openai_api_key": "sk"}], ArgoUrls("http://a"), 1),
    ],
)
def test_when_the_argo_gateway_answers(layers: list[dict[str, Any]], urls: ArgoUrls, warnings: int | str) -> None:
    made = layered(*layers)
    wanted = replace(urls, embed=warnings) if isinstance(warnings, str) else urls
    assert made.target == ArgoTarget(wanted, Identity("me"))
    assert len(made.warnings) == (warnings if isinstance(warnings, int) else 0)


@pytest.mark.parametrize(
    ("layers", "target", "warnings"),
    [
        ([{"target_base_url": "http://t"}, {"user": "me"}], "http://t", ["ARGO_USER (layer 1)"]),
        ([{"user": "me"}, {"target_base_url": "http://t"}], "http://t", ["ARGO_USER (layer 0)"]),
        ([{"target_base_url": "http://t", "argo_url": "http://a", "user": "me"}], "http://t", ["ARGO_URL (layer 0)"]),
        ([{"demo": True}, {"argo_url": "http://a", "user": "me"}], "the embedded demo", ["ARGO_URL (layer 1)"]),
    ],
)
def test_when_the_argo_gateway_yields(layers: list[dict[str, Any]], target: str, warnings: list[str]) -> None:
    made = layered(*layers)
    assert made.target.description == target
    assert [warning.partition(" is not used")[0] for warning in made.warnings] == warnings


def test_the_name_of_the_systems_user_is_none_of_ours() -> None:
    assert config(USER="root") == config()


def test_the_flat_file_of_argo_proxy_is_complete(tmp_path: Path) -> None:
    made = load({}, written(tmp_path, (ROOT / "config.sample.yaml").read_text()))
    urls = ArgoUrls(
        f"{DEV}/api/v1/resource/chat/", f"{DEV}/api/v1/resource/streamchat/", f"{PROD}/api/v1/resource/embed/"
    )
    upstream = UpstreamSettings("argo", ArgoTarget(urls, Identity("your_username")), Timeouts(), Access(), True)
    assert made == replace(
        config(),
        server=ServerOptions(port=44497, num_workers=5),
        upstreams=(upstream,),
        gateway=upstream,
        class_folders=(str(tmp_path), str(tmp_path)),
    )


@pytest.mark.parametrize("key", ["argo_url", "argo_stream_url", "argo_embedding_url", "argo_base_url"])
def test_an_empty_url_is_no_url(tmp_path: Path, key: str) -> None:
    made = load({}, written(tmp_path, f'user: me\n{key}: ""\n'))
    assert isinstance(made.target, ArgoTarget)
    assert made.target.argo_urls == ArgoUrls()
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"OPENAI_API_KEY": "your_openai_api_key_here"}, "OPENAI_API_KEY"),
        ({"OPENAI_BASE_URL": "http://o/v1", "OPENAI_API_KEY": "Your-API-Key"}, "OPENAI_API_KEY"),
        ({"TARGET_BASE_URL": "http://t", "TARGET_API_KEY": "sk-your-key-here"}, "TARGET_API_KEY"),
        ({"ENABLE_AUTH": "true", "API_KEY_SECRET": "sk-fine,your_secret_key_here"}, "API_KEY_SECRET"),
    ],
)
def test_a_placeholder_that_would_be_used_as_a_key_is_refused(environ: dict[str, str], named: str) -> None:
    (mistake,) = mistakes(**environ)
    assert mistake.startswith(f"{named} (environment) ")


@pytest.mark.parametrize(
    "environ",
    [
        {"DEMO": "true", "OPENAI_API_KEY": "your_openai_api_key_here"},
        {"TARGET_BASE_URL": "http://t", "OPENAI_API_KEY": "your_openai_api_key_here"},
        {"API_KEY_SECRET": "your_secret_key_here"},
        {"OPENAI_API_KEY": "sk-yourself-key"},
    ],
)
def test_a_placeholder_that_nobody_uses_is_none_of_our_business(environ: dict[str, str]) -> None:
    config(**environ)


@pytest.mark.parametrize("key", IGNORED)
def test_keys_of_later_argo_proxies_are_let_pass_with_a_warning(tmp_path: Path, key: str) -> None:
    (warning,) = load({}, written(tmp_path, f"user: me\n{key}: true\n")).warnings
    assert warning.startswith(f"config.yaml, line 2: {key} has no effect here: ")


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
        ({"WORKERS": "-1"}, "environment: WORKERS '-1' must be a whole number from 1 to 1000"),
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
    assert mistakes(**environ) == [mistake]


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes(PORT="x", DEBUG="x", THINK_FILTER="x")) == 3


def test_an_empty_variable_says_nothing() -> None:
    assert config(PORT="", DEMO=" ", TARGET_BASE_URL="") == config()


def test_a_missing_bundle_does_not_matter_without_tls() -> None:
    assert config(SSL_CERT_FILE="/missing.pem", DEMO="1").ca_bundle == "/missing.pem"


def written(folder: Path, text: str, name: str = "config.yaml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_the_file_in_the_folder_is_read(tmp_path: Path) -> None:
    text = (
        "port: 81\nnum_workers: 2\ntimeout: 90s\ndebug: on\ntarget_base_url: http://up\nheartbeat:\nthink_filter: no\n"
    )
    made = load({"PORT": "82"}, written(tmp_path, text))
    assert made.server == ServerOptions(port=82, num_workers=2)
    assert (made.upstreams[0].timeouts.idle_s, made.log.level, made.thinking.filter) == (90, "debug", False)
    assert made.heartbeat == Heartbeat(15)


def test_the_named_file_is_read(tmp_path: Path) -> None:
    written(tmp_path, "port: 81")
    written(tmp_path, "port: 83", "other file.yaml")
    assert load({"CONFIG_PATH": "other file.yaml"}, tmp_path).server.port == 83
    assert load({"CONFIG_PATH": str(tmp_path / "other file.yaml")}, NOWHERE).server.port == 83


UNREADABLE = "config.yaml holds a value that YAML cannot read"
NO_MORE = "must not contain credentials, a query, a fragment or a blank"
NO_SCHEME = "is not a base URL: a base URL must begin with http:// or https://"
NO_USER = "the Argo gateway needs a user: set `user` in the config file or ARGO_USER to your Argonne user name"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    assert load({}, written(tmp_path, text)) == replace(config(), class_folders=(str(tmp_path), str(tmp_path)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot: 81", ['config.yaml, line 1: unknown key "prot"; did you mean "port"?']),
        ("\nzzz: 81", ['config.yaml, line 2: unknown key "zzz"']),
        (
            "port: x\ndebug: [1]",
            [
                "config.yaml, line 1: port 'x' must be a whole number from 1 to 65535",
                "config.yaml, line 2: debug '[1]' must be true or false",
            ],
        ),
        ("port: true", ["config.yaml, line 1: port 'True' must be a whole number from 1 to 65535"]),
        (
            "timeout: true",
            ["config.yaml, line 1: timeout 'True' must be a duration, such as 90 (seconds), 90s or 60000ms"],
        ),
        ("host: {a: 1}", ["config.yaml, line 1: host \"{'a': 1}\" must be a text that is not empty"]),
        ("openai_api_key: [1]", ["config.yaml, line 1: openai_api_key must be a text that is not empty"]),
        ("port: [", ["config.yaml, line 1: not valid YAML: expected the node content, but found '<stream end>'"]),
        ("a: b: c", ["config.yaml, line 1: not valid YAML: mapping values are not allowed here"]),
        ("user: cels", ["config.yaml, line 1: user 'cels' is not a personal user name; use your own"]),
        ("user: CELS", ["config.yaml, line 1: user 'CELS' is not a personal user name; use your own"]),
        ("user: two words", ["config.yaml, line 1: user 'two words' must not contain blanks"]),
        ('argo_stream_url: "  "\nuser: ""', ["config.yaml, line 2: user '' must be a text that is not empty"]),
        ('user: ""', ["config.yaml, line 1: user '' must be a text that is not empty"]),
        ("user: [a]", ["config.yaml, line 1: user \"['a']\" must be a text; put it in quotes"]),
        ("argo_url: http://a", [NO_USER]),
        ("argo_base_url: http://a", [NO_USER]),
        (
            "user: me\nargo_url: apps/chat",
            [
                "config.yaml, line 2: argo_url 'apps/chat' is not a base URL: "
                'a base URL must begin with http:// or https://; did you mean "http://apps/chat"?'
            ],
        ),
        (
            "user: me\nargo_stream_url: ftp://apps",
            [
                "config.yaml, line 2: argo_stream_url 'ftp://apps' is not a base URL: "
                "a base URL must begin with http:// or https://"
            ],
        ),
        (
            "user: me\nargo_embedding_url: http://",
            ["config.yaml, line 2: argo_embedding_url 'http://' is not a base URL: a base URL must have a host"],
        ),
        (
            "user: me\nport: 81\nargo_url: http://localhost:81/chat",
            ["the upstream 'http://localhost:81/chat' is this proxy itself; set another URL"],
        ),
        ("argo_ulr: http://a", ['config.yaml, line 1: unknown key "argo_ulr"; did you mean "argo_url"?']),
        ("usr: me", ['config.yaml, line 1: unknown key "usr"; did you mean "user"?']),
        ("num_worker: 4", ['config.yaml, line 1: unknown key "num_worker"; did you mean "num_workers"?']),
        ("num_workers: 0", ["config.yaml, line 1: num_workers '0' must be a whole number from 1 to 1000"]),
        ("num_workers: many", ["config.yaml, line 1: num_workers 'many' must be a whole number from 1 to 1000"]),
        ("num_workers: 2.5", ["config.yaml, line 1: num_workers '2.5' must be a whole number from 1 to 1000"]),
        ("verbose: loud", ["config.yaml, line 1: verbose 'loud' must be true or false"]),
        ("timeout: -1", ["config.yaml, line 1: timeout '-1' must be a duration, such as 90 (seconds), 90s or 60000ms"]),
        ("timeout: 0", ["config.yaml, line 1: timeout '0' must be more than 0 and at most 1000000 seconds"]),
        ("default_model: []", ["config.yaml, line 1: default_model '[]' must be a text that is not empty"]),
        ("port: 1\nuser: me\nport: 2", ["config.yaml, line 3: port is already set in line 1"]),
        ("user: 1:30", ["config.yaml, line 1: user '90' must be a text; put it in quotes"]),
        ("user: 'm\\e'", ["config.yaml, line 1: user 'm\\\\e' may contain only letters, digits and . _ @ + -"]),
        ("user: 2021-13-45", [UNREADABLE]),
        ("port: !!int abc", [UNREADABLE]),
        ("debug: !!bool abc", [UNREADABLE]),
        ("port: !!timestamp abc", [UNREADABLE]),
        ("port: " + "[" * 3000, [UNREADABLE]),
        ("host: no such", ["config.yaml, line 1: host 'no such' must be an address or a host name"]),
        (
            "user: me\nargo_url: http://me:word@a/chat",
            [f"config.yaml, line 2: argo_url 'http://****@a/chat' {NO_MORE}"],
        ),
        ("user: me\nargo_base_url: http://a/b?x=1", [f"config.yaml, line 2: argo_base_url 'http://a/b?x=1' {NO_MORE}"]),
        ("user: me\nargo_url: http://a b/", [f"config.yaml, line 2: argo_url 'http://a b/' {NO_MORE}"]),
        ("target_base_url: ftp://me:word@a", [f"config.yaml, line 1: target_base_url 'ftp://****@a' {NO_SCHEME}"]),
        ("- a", ["config.yaml must hold lines of the form `key: value`"]),
        ("just text", ["config.yaml must hold lines of the form `key: value`"]),
        ("port: \x01", ["config.yaml is not valid YAML"]),
        ("models: &m {a: *m}", ["config.yaml holds an anchor that contains itself"]),
        ("models: &m {<<: *m}", ["config.yaml holds an anchor that contains itself"]),
        ("models: {a: {params: &p {x: [*p]}}}", ["config.yaml holds an anchor that contains itself"]),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, written(tmp_path, text))
    assert list(caught.value.mistakes) == expected


def test_names_are_taken_as_they_are_written(tmp_path: Path) -> None:
    names = ["2024-06-01", "1.10", "yes", "null", "007"]
    rules = "".join(f"  {name}: {{params: {{{name}: 1}}}}\n" for name in names)
    made = load({}, written(tmp_path, f"demo: true\nmodels:\n{rules}"))
    assert [rule.name for rule in made.rules] == names
    assert [list(rule.params) for rule in made.rules] == [[name] for name in names]


def test_rules_may_share_what_an_anchor_names(tmp_path: Path) -> None:
    text = "demo: true\nmodels:\n  a: &a {params: {x: 1}}\n  b: {<<: *a, remove: [y]}\n  c: *a\n"
    made = load({}, written(tmp_path, text))
    assert [(rule.name, dict(rule.params)) for rule in made.rules] == [(name, {"x": 1}) for name in "abc"]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read: UnicodeDecodeError"):
        load({}, tmp_path)


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
def test_keys_of_our_own(value: Any, keys: tuple[Key, ...]) -> None:
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
def test_keys_that_are_none(value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        layered({"api_key_secret": value})
    assert "api_key_secret" in caught.value.mistakes[0]
    assert "x yz" not in caught.value.mistakes[0]


def test_models_that_may_be_asked_for() -> None:
    assert layered({"allowed_models": "gpt-4o, qwen*"}).allowed == AllowList(("gpt-4o", "qwen*"))
    assert layered({"allowed_models": ["gpt-4o"]}).allowed == AllowList(("gpt-4o",))
    assert layered({"metrics_open": True}).open_routes == (*OPEN_ROUTES, "/metrics")


def test_a_dotenv_file_is_a_layer_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, "port: 81\nnum_workers: 3\nthreads: 5")
    written(tmp_path, 'export PORT="82"\nWORKERS=4 # four\nPATH=/x\nDEBUG=\n# HOST=no\nUSER=me\n', ".env")
    made = load({"WORKERS": "5"}, tmp_path)
    assert made.server == ServerOptions(port=82, num_workers=5, threads=5)
    assert made.log.level == "info"


def test_a_broken_dotenv_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "PORT=x", ".env")
    with pytest.raises(ConfigError, match=r"\.env: PORT 'x' must be a whole number"):
        load({}, tmp_path)
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(ConfigError, match=r"\.env cannot be read"):
        load({}, tmp_path)


def test_a_worker_takes_what_was_published(tmp_path: Path) -> None:
    publish_snapshot(
        [Layer("flag", {"PORT": "83"}), Layer("config.yaml", {"num_workers": 2}, {"num_workers": 1})], tmp_path / "s"
    )
    written(tmp_path, "port: broken")
    made = load({SNAPSHOT_VARIABLE: str(tmp_path / "s"), "PORT": "84"}, tmp_path)
    assert (made.server.port, made.server.num_workers) == (83, 2)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_origins_of_web_pages() -> None:
    made = config(CORS_ORIGINS="https://App.example/, http://localhost:3000,app://obsidian.md,null")
    assert made.cors_origins == {"https://app.example", "http://localhost:3000", "app://obsidian.md", "null"}
    assert config(CORS_ORIGINS="*").cors_origins == {"*"}


@pytest.mark.parametrize("text", ["app.example", "https://app.example/page", "https://*.example", "https://", ","])
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ConfigError):
        config(CORS_ORIGINS=text)
