from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from argoproxy.config.config import load
from argoproxy.config.values.config_error import ConfigError
from argoproxy.errors import AuthenticationError, PluginFailed
from argoproxy.plugins.loader import (
    ConfiguredPlugin,
    PluginAuth,
    PluginAuthenticator,
    add_plugin_folders,
    check_plugins,
    find_mistakes,
    instantiate,
)
from argoproxy.protocol.access.auth import Principal
from argoproxy.upstreams.access import PluginSpec


def test_an_authenticator_names_the_caller_and_keeps_credentials_back() -> None:
    authenticator = PluginAuthenticator(PluginSpec("plugins_of_a_test:Callers"))
    assert authenticator.authenticate((("X", "k"),)) == Principal("ann")
    headers = (("authorization", "a"), ("X-API-Key", "b"), ("X-Else", "c"))
    assert authenticator.without_credentials(headers) == (("X-Else", "c"),)
    assert authenticator.query_without_credentials("key=a&else=c") == "else=c"


def test_an_authenticator_that_returns_none_rejects_the_caller() -> None:
    with pytest.raises(AuthenticationError):
        PluginAuthenticator(PluginSpec("plugins_of_a_test:Callers")).authenticate(())


@pytest.mark.parametrize("header", ["z", "n"])
def test_an_authenticator_that_returns_no_principal_with_a_name_fails(header: str) -> None:
    with pytest.raises(PluginFailed):
        PluginAuthenticator(PluginSpec("plugins_of_a_test:Callers")).authenticate((("X", header),))


def prepared(path: str) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.method, request.url = "GET", f"http://x/{path}"
    request.headers = requests.structures.CaseInsensitiveDict()
    return request


def test_a_signer_changes_the_request() -> None:
    sign = PluginAuth("upstreams.x.auth", PluginSpec("plugins_of_a_test:Signer"))
    assert sign(prepared("me")).headers["X-Signed"] == "me"


@pytest.mark.parametrize("path", ["none", "true", "exit", "two%0d%0alines\r\n"])
def test_a_signer_that_exits_or_returns_no_request_that_can_be_sent_fails(path: str) -> None:
    sign = PluginAuth("upstreams.x.auth", PluginSpec("plugins_of_a_test:Signer"))
    with pytest.raises(PluginFailed):
        sign(prepared(path))


@pytest.mark.parametrize(
    ("kind", "path", "options", "mistake"),
    [
        ("upstream", "none_such_module:X", {}, "none_such_module"),
        ("upstream", "broken_of_a_test:X", {}, "none_such"),
        ("upstream", "renamed_of_a_test:X", {}, "argoproxy.api"),
        ("upstream", "plugins_of_a_test:NoSuchClass", {}, "NoSuchClass"),
        ("upstream", "plugins_of_a_test:REQUEST", {}, "no class REQUEST"),
        ("upstream", "plugins_of_a_test:Callers", {}, "completion_request, read_completion, read_error"),
        ("auth", "plugins_of_a_test:Callers", {}, "__call__"),
        ("listener", "plugins_of_a_test:Callers", {}, "__call__"),
        ("upstream", "plugins_of_a_test:Minimal", {"size": 9}, "TypeError"),
        ("listener", "plugins_of_a_test:Picky", {"size": 9}, "size is too large"),
        ("listener", "plugins_of_a_test:Picky", {"size": 3}, "SystemExit: 3"),
        ("listener", "plugins_of_a_test:Picky", {"size": 1}, "KeyError: 'size'"),
    ],
)
def test_a_mistake_names_the_setting_and_the_cause(kind: str, path: str, options: dict[str, int], mistake: str) -> None:
    (found,) = find_mistakes([ConfiguredPlugin(kind, "here", PluginSpec(path, options))])
    assert found.startswith("here: ")
    assert mistake in found


def test_a_class_that_derives_from_the_base_may_leave_errors_to_it() -> None:
    assert instantiate(ConfiguredPlugin("upstream", "here", PluginSpec("plugins_of_a_test:Derived")))


ACTIVE = """
import atexit, os, threading, time

atexit.register(print, "bye")


class Active:
    def __init__(self, does):
        work = {"thread": threading.Thread(target=time.sleep, args=(60,)).start, "exit": lambda: os._exit(0)}
        work.get(does, lambda: time.sleep(600))()

    def __call__(self, outcome):
        pass
"""


@pytest.mark.parametrize(
    ("does", "timeout_s", "mistake"),
    [("thread", 60, ""), ("exit", 60, "ends the process"), ("sleep", 3, "did not start within")],
)
def test_plugins_are_checked_in_a_subprocess(tmp_path: Path, does: str, timeout_s: float, mistake: str) -> None:
    (tmp_path / "active_of_a_test.py").write_text(ACTIVE)
    spec = PluginSpec("active_of_a_test:Active", {"does": does})
    config = replace(load({"DEMO": "true"}, tmp_path), listeners=(spec,))
    if not mistake:
        check_plugins(config, timeout_s)
        return
    with pytest.raises(ConfigError, match=mistake):
        check_plugins(config, timeout_s)


def test_folders_are_added_once(tmp_path: Path) -> None:
    add_plugin_folders([str(tmp_path / "a"), str(tmp_path / "b")])
    add_plugin_folders([str(tmp_path / "a")])
    assert sys.path[:2] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert sys.path.count(str(tmp_path / "a")) == 1
