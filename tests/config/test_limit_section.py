"""Limits in the config file and the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.cli.explain import explain_model
from argoproxy.config.config import show
from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.protocol.limits.limits import (
    Budget,
    LimitedSubject,
    Limits,
    LimitSettings,
    Period,
    Reserve,
    StoreFailure,
    Unpriced,
)
from argoproxy.protocol.routing.call import Call, make_call
from argoproxy.web.upstream_factory import models_of
from tests.support.configs import config, find_mistakes, find_mistakes_in, load_text, rules

CHAT = "/v1/chat/completions"
BASE = "target_base_url: http://localhost:8000/v1\nenable_auth: true\nstate_path: state\n"
FIVE = Budget(5_000_000_000, Period.MONTH)
FILE = f"""{BASE}limits: {{rpm: 600, budget: 5/month}}
reserve: max
expect_output: 300
unpriced: allow
budget_zone: Europe/Berlin
on_store_failure: allow
teams:
  research: {{tpm: 200000, model_limits: {{"o*": {{concurrent: 0}}}}}}
keys:
  ann:
    team: research
    rpm: 60
    reserve: expected
    model_limits:
      gpt-*: {{rpm: 5, budget: "${{BUDGET:-5/month}}"}}
      " a/b ": {{tpm: 1}}
      c:
models:
  gpt-*: {{concurrent: 2}}
  m1: {{timeout: 5}}
"""


def test_what_the_file_sets(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, FILE)
    everyone = LimitedSubject("global", Limits(rpm=600, budget=FIVE))
    assert loaded.limits == LimitSettings(
        everyone, Reserve.MAX, 300, Unpriced.ALLOW, "Europe/Berlin", StoreFailure.ALLOW
    )
    assert loaded.managed
    (key,), (team,) = loaded.managed.keys, loaded.managed.teams
    assert key.attributes["limits"] == Limits(
        rpm=60, reserve=Reserve.EXPECTED, models=(("gpt-*", Limits(rpm=5, budget=FIVE)), ("a/b", Limits(tpm=1)))
    )
    assert team.limits == Limits(tpm=200000, models=(("o*", Limits(concurrent=0)),))
    assert [rule.limited for rule in rules(loaded).values()] == [
        LimitedSubject("model:gpt-*", Limits(concurrent=2)),
        None,
    ]
    assert loaded.state_folder == tmp_path / "state"


def completion_call(model: str) -> Call:
    return make_call(ClientRequest("", 0, "POST", CHAT, "", (), BytesBody(b""), ""), {"model": model}, CHAT)


def test_routes_have_the_limits_of_their_rule_and_upstream(tmp_path: Path) -> None:
    text = """upstreams:
  one: {base_url: "http://localhost:8000/v1", rpm: 7}
  two: {base_url: "http://localhost:8001/v1"}
models:
  gpt-*: {upstream: [one, two], tpm: 9}
"""
    loaded = load_text(tmp_path, text)
    models = models_of(loaded)
    rule, one = LimitedSubject("model:gpt-*", Limits(tpm=9)), LimitedSubject("upstream:one", Limits(rpm=7))
    assert [route.subjects for route in models.resolve(completion_call("gpt-5"))] == [(rule, one), (rule,)]
    assert [route.subjects for route in models.resolve(completion_call("m1"))] == [(one,)]
    assert loaded.limits_apply
    assert loaded.state_folder is None
    shown = '  limits: {"model:gpt-*": {"tpm": 9}, "upstream:one": {"rpm": 7}}'
    assert shown in list(explain_model(loaded, "gpt-5"))


def test_nothing_is_limited_unless_it_is_set(tmp_path: Path) -> None:
    assert config().limits == LimitSettings()
    assert not config().limits_apply
    assert config(STATE_PATH="state").limits_apply, "there is a ledger"
    assert config(LIMITS_RPM="0").limits_apply, "0 is a limit"
    assert load_text(tmp_path, "upstreams: {a: {base_url: 'http://localhost:8000/v1', rpm: 5}}\n").limits_apply


def test_variables(tmp_path: Path) -> None:
    limits = config(LIMITS_RPM="60", LIMITS_TPM="100", LIMITS_CONCURRENT="4", LIMITS_BUDGET="5/month", STATE_PATH="s")
    assert limits.limits.everyone == LimitedSubject("global", Limits(60, 100, 4, FIVE))
    shown = "\n".join(show({"LIMITS_BUDGET": "5.00/month", "STATE_PATH": "s", "DEMO": "true"}, tmp_path))
    assert 'limits_budget: "5/month"' in shown
    assert config(BUDGET_ZONE="utc").limits.zone == "UTC"


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("limits: {rpm: -1}", "line 4: limits.rpm '-1'", "must be a whole number from 0"),
        ("limits: {rpm: 5.5}", "line 4: limits.rpm '5.5'", "must be a whole number from 0"),
        ("limits: {rpm: true}", "line 4: limits.rpm 'True'", "must be a whole number from 0"),
        ("limits: {budget: 5}", "line 4: limits.budget '5'", "must be an amount and its period"),
        ("limits: {rpn: 5}", 'line 4: unknown key "limits.rpn"', 'did you mean "rpm"?'),
        ("keys:\n  ann: {rpm: 1.0}", "line 5: keys.ann.rpm '1.0'", "must be a whole number from 0"),
        ("keys:\n  ann:\n    rpm: x", "line 6: keys.ann.rpm 'x'", "must be a whole number from 0"),
        ("keys:\n  ann: {model_limits: 5}", "line 5: keys.ann.model_limits '5'", "must be a mapping"),
        ("keys:\n  ann: {model_limits: {m: 5}}", "line 5: keys.ann.model_limits.m", "must be a mapping"),
        (
            "keys:\n  ann:\n    model_limits:\n      gpt-*:\n        rpm: -5",
            "line 8: keys.ann.model_limits.gpt-*.rpm '-5'",
            "must be a whole number from 0",
        ),
        ("keys:\n  ann: {model_limits: {m: {reserve: max}}}", "keys.ann.model_limits.m.reserve", "is not a key here"),
        ('keys:\n  ann: {model_limits: {" ": {rpm: 5}}}', "keys.ann.model_limits. ", "must name models by patterns"),
        (
            f"keys:\n  ann: {{model_limits: {{{','.join(f'm{n}: {{rpm: 1}}' for n in range(51))}}}}}",
            "keys.ann.model_limits",
            "must hold at most 50 patterns",
        ),
        ("teams:\n  t: {reserve: most}", "line 5: teams.t.reserve 'most'", "must be one of expected, max"),
        ("models:\n  m: {tpm: -1}", "line 5: models.m.tpm '-1'", "must be a whole number from 0"),
        ("upstreams:\n  u: {base_url: 'http://a/v1', concurrent: no}", "upstreams.u.concurrent 'False'", "must be a"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, place: str, reason: str) -> None:
    base = BASE.replace("target_base_url: http://localhost:8000/v1", "port: 5001") if "upstreams" in text else BASE
    (mistake,) = find_mistakes_in(tmp_path, f"{base}{text}\n")
    assert place in mistake
    assert reason in mistake


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("limits: {budget: 5/month}", "line 1: limits.budget"),
        ("models:\n  m: {budget: 5/month}", "line 2: models.m.budget"),
        ("upstreams:\n  u: {base_url: 'http://a/v1', budget: 5/month}", "line 2: upstreams.u.budget"),
    ],
)
def test_a_budget_needs_a_folder(tmp_path: Path, text: str, place: str) -> None:
    (mistake,) = find_mistakes_in(tmp_path, f"{text}\n")
    assert place in mistake
    assert "needs state_path" in mistake


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("RESERVE", "most", "must be one of expected, max"),
        ("EXPECT_OUTPUT", "-1", "must be a whole number from 0"),
        ("UNPRICED", "free", "must be one of refuse, allow"),
        ("ON_STORE_FAILURE", "ask", "must be one of local, refuse, allow"),
        ("BUDGET_ZONE", "Mars/Olympus", "is not a time zone"),
        ("BUDGET_ZONE", "../../etc/passwd", "is not a time zone"),
        ("BUDGET_ZONE", "Europe", "is not a time zone"),
    ],
)
def test_words_that_are_not_known(name: str, value: str, reason: str) -> None:
    (mistake,) = find_mistakes(**{name: value})
    assert name in mistake
    assert reason in mistake


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("limits: {tpm: 1000}", "line 4: limits.tpm"),
        ("keys: {ann: {tpm: 1000}}", "line 4: keys.ann.tpm"),
        ("keys: {ann: {model_limits: {m: {tpm: 1000}}}}", "line 4: keys.ann.model_limits.m.tpm"),
        ("models: {m: {tpm: 1000}}", "line 4: models.m.tpm"),
    ],
)
def test_a_limit_that_no_answer_fits(tmp_path: Path, text: str, place: str) -> None:
    (warning,) = load_text(tmp_path, f"{BASE}{text}\n").warnings
    assert place in warning
    assert "is less than expect_output" in warning
    for other in ("expect_output: 1000", "reserve: max"):
        assert load_text(tmp_path, f"{BASE}{text}\n{other}\n").warnings == ()
    assert load_text(tmp_path, f"{BASE}{text.replace('1000', '0')}\n").warnings == ()
    assert load_text(tmp_path, f"{BASE}{text.replace('1000', '1024')}\n").warnings == ()
