"""Sources of settings: layers, the config file, `.env`, the snapshot for workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.config import load
from argoproxy.config.kinds.argo_kind import ArgoTarget
from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.config.options.server_options import ServerOptions
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import SNAPSHOT_VARIABLE, Layer, publish_snapshot
from argoproxy.config.values.settings import IGNORED
from argoproxy.protocol.routing.call import Identity
from argoproxy.protocol.routing.timeouts import Heartbeat, Timeouts
from argoproxy.upstreams.access import Access
from argoproxy.upstreams.argo.adapter import ArgoUrls
from tests.support.configs import NOWHERE, config, layered, write_config

ROOT = Path(__file__).resolve().parents[2]


DEV, PROD = "https://apps-dev.inside.anl.gov/argoapi", "https://apps.inside.anl.gov/argoapi"


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


def test_the_flat_file_of_argo_proxy_is_complete(tmp_path: Path) -> None:
    made = load({}, write_config(tmp_path, (ROOT / "config.sample.yaml").read_text()))
    urls = ArgoUrls(
        f"{DEV}/api/v1/resource/chat/", f"{DEV}/api/v1/resource/streamchat/", f"{PROD}/api/v1/resource/embed/"
    )
    upstream = UpstreamSettings("argo", ArgoTarget(urls, Identity("your_username")), Timeouts(), Access(), True)
    assert made == replace(
        config(),
        server=ServerOptions(port=44497, num_workers=5),
        upstreams=(upstream,),
        gateway=upstream,
        plugin_folders=(str(tmp_path), str(tmp_path)),
    )


@pytest.mark.parametrize("key", IGNORED)
def test_a_key_of_later_argo_proxy_files_is_a_warning(tmp_path: Path, key: str) -> None:
    (warning,) = load({}, write_config(tmp_path, f"user: me\n{key}: true\n")).warnings
    assert warning.startswith(f"config.yaml, line 2: {key} has no effect here: ")


def test_an_empty_variable_sets_nothing() -> None:
    assert config(PORT="", DEMO=" ", TARGET_BASE_URL="") == config()


def test_the_file_in_the_folder_is_read(tmp_path: Path) -> None:
    text = (
        "port: 81\nnum_workers: 2\ntimeout: 90s\ndebug: on\ntarget_base_url: http://up\nheartbeat:\nthink_filter: no\n"
    )
    made = load({"PORT": "82"}, write_config(tmp_path, text))
    assert made.server == ServerOptions(port=82, num_workers=2)
    assert (made.upstreams[0].timeouts.idle_s, made.log.level, made.thinking.filter) == (90, "debug", False)
    assert made.heartbeat == Heartbeat(15)


def test_the_named_file_is_read(tmp_path: Path) -> None:
    write_config(tmp_path, "port: 81")
    write_config(tmp_path, "port: 83", "other file.yaml")
    assert load({"CONFIG_PATH": "other file.yaml"}, tmp_path).server.port == 83
    assert load({"CONFIG_PATH": str(tmp_path / "other file.yaml")}, NOWHERE).server.port == 83


UNREADABLE = "config.yaml holds a value that YAML cannot read"


NO_MORE = "must not contain credentials, a query, a fragment or a blank"


NO_SCHEME = "is not a base URL: a base URL must begin with http:// or https://"


NO_USER = "the Argo gateway needs a user: set `user` in the config file or ARGO_USER to your Argonne user name"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    assert load({}, write_config(tmp_path, text)) == replace(config(), plugin_folders=(str(tmp_path), str(tmp_path)))


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
        ("workers: 4", ['config.yaml, line 1: unknown key "workers"; did you mean "num_workers"?']),
        ("num_workers: 0", ["config.yaml, line 1: num_workers '0' must be a whole number from 1 to 1000, or auto"]),
        (
            "num_workers: many",
            ["config.yaml, line 1: num_workers 'many' must be a whole number from 1 to 1000, or auto"],
        ),
        ("num_workers: 2.5", ["config.yaml, line 1: num_workers '2.5' must be a whole number from 1 to 1000, or auto"]),
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
        load({}, write_config(tmp_path, text))
    assert list(caught.value.mistakes) == expected


def test_names_are_read_as_they_are_written(tmp_path: Path) -> None:
    names = ["2024-06-01", "1.10", "yes", "null", "007"]
    rules = "".join(f"  {name}: {{params: {{{name}: 1}}}}\n" for name in names)
    made = load({}, write_config(tmp_path, f"demo: true\nmodels:\n{rules}"))
    assert [rule.name for rule in made.rules] == names
    assert [list(rule.params) for rule in made.rules] == [[name] for name in names]


def test_rules_may_share_what_an_anchor_names(tmp_path: Path) -> None:
    text = "demo: true\nmodels:\n  a: &a {params: {x: 1}}\n  b: {<<: *a, remove: [y]}\n  c: *a\n"
    made = load({}, write_config(tmp_path, text))
    assert [(rule.name, dict(rule.params)) for rule in made.rules] == [(name, {"x": 1}) for name in "abc"]


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read: UnicodeDecodeError"):
        load({}, tmp_path)


def test_a_dotenv_file_is_a_layer_of_its_own(tmp_path: Path) -> None:
    write_config(tmp_path, "port: 81\nnum_workers: 3\nthreads: 5")
    write_config(tmp_path, 'export PORT="82"\nWORKERS=4 # four\nPATH=/x\nDEBUG=\n# HOST=no\nUSER=me\n', ".env")
    made = load({"WORKERS": "5"}, tmp_path)
    assert made.server == ServerOptions(port=82, num_workers=5, threads=5)
    assert made.log.level == "info"


def test_a_broken_dotenv_file_is_refused(tmp_path: Path) -> None:
    write_config(tmp_path, "PORT=x", ".env")
    with pytest.raises(ConfigError, match=r"\.env: PORT 'x' must be a whole number"):
        load({}, tmp_path)
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(ConfigError, match=r"\.env cannot be read"):
        load({}, tmp_path)


def test_a_worker_takes_what_was_published(tmp_path: Path) -> None:
    publish_snapshot(
        [Layer("flag", {"PORT": "83"}), Layer("config.yaml", {"num_workers": 2}, {"num_workers": 1})], tmp_path / "s"
    )
    write_config(tmp_path, "port: broken")
    made = load({SNAPSHOT_VARIABLE: str(tmp_path / "s"), "PORT": "84"}, tmp_path)
    assert (made.server.port, made.server.num_workers) == (83, 2)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
