"""The section `models:` of the config file."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.protocol.resilience.balance import Balance, Balancing
from argoproxy.protocol.routing.rules import Rule
from argoproxy.protocol.routing.timeouts import TimeoutOverrides
from tests.support.configs import find_mistakes_in, load_text, rules

A = "upstreams: {a: {base_url: http://a}}\n"


RULES = """
upstreams: {a: {kind: demo}, b: {base_url: http://b}}
models:
  "q*":
    upstream: b
    params: {temperature: 0.5, logit_bias: {5: 1}}
    defaults: {max_tokens: 5}
    remove: top_k, seed
    append_to_last_user_message: "\\n /x"
    enable_think_tag_filtering: off
    think_tag_start: "["
    total_timeout: 5m
    timeout: 3
  r: {upstream: [b, a]}
  5: {upstream_model_name: six}
  default: {params: {n: 1}}
"""


def test_rules_are_read(tmp_path: Path) -> None:
    read = rules(load_text(tmp_path, RULES))
    assert read["q*"] == Rule(
        "q*",
        {"temperature": 0.5, "logit_bias": {"5": 1}},
        append_to_last_user_message="\n /x",
        enable_think_tag_filtering=False,
        think_tag_start="[",
        upstreams=("b",),
        defaults={"max_tokens": 5},
        remove=("top_k", "seed"),
        timeouts=TimeoutOverrides(first_byte_s=3, idle_s=3, total_s=300, connect_cap_s=3),
    )
    assert read["r"].upstreams == ("b", "a")
    assert read["5"].is_pseudo_model
    assert read["default"].params == {"n": 1}


def test_a_flag_for_another_endpoint_leaves_rules_without_their_upstreams(tmp_path: Path) -> None:
    config = load_text(tmp_path, A + "models: {m: {upstream: a, params: {n: 1}}}", DEMO="true", ARGOPROXY_FLAGS="DEMO")
    assert rules(config)["m"].upstreams == ()
    assert any("models.m.upstream has no effect" in warning for warning in config.warnings)
    assert any("upstreams (config.yaml) is not used" in warning for warning in config.warnings)


def test_a_rule_that_sets_nothing_is_warned_of(tmp_path: Path) -> None:
    (warning,) = load_text(tmp_path, "models: {m: }").warnings
    assert warning == "config.yaml, line 1: models.m sets nothing"


BALANCED = """
upstreams: {a: {base_url: http://a}, b: {base_url: http://b}, c: {base_url: http://c}}
models:
  m:
    upstream: [a, b]
    balance: weighted
    weights:
      a: 2
      b: 0.5
  n: {upstream: [a, b, c], balance: sticky, weights: {c: "3"}}
  o: {upstream: [a, b], balance: ordered}
  p: {upstream: [a, b]}
"""


def test_rules_choose_between_their_upstreams(tmp_path: Path) -> None:
    read = rules(load_text(tmp_path, BALANCED))
    assert read["m"].balancing == Balancing(Balance.WEIGHTED, {"a": 2, "b": 0.5})
    assert read["n"].balancing == Balancing(Balance.STICKY, {"c": 3})
    assert [read[name].balancing for name in "op"] == [None, None]


@pytest.mark.parametrize("upstream", ["", "upstream: a, "])
def test_choosing_between_less_than_two_upstreams_is_warned_of(tmp_path: Path, upstream: str) -> None:
    config = load_text(tmp_path, A + f"models: {{m: {{{upstream}balance: sticky}}}}")
    assert config.warnings == ("config.yaml, line 2: models.m.balance has no effect: the rule has only one upstream",)
    assert rules(config)["m"].balancing is None


@pytest.mark.parametrize(
    ("line", "wrong", "mistake"),
    [
        ("      a: 2", "      a: 0", "models.m.weights.a '0' must be a number greater than 0"),
        ("      b: 0.5", "      b: -1", "models.m.weights.b '-1' must be a number greater than 0"),
        ("      b: 0.5", "      b: [1]", "models.m.weights.b '[1]' must be a number greater than 0"),
        ("      b: 0.5", "      c: 1", "models.m.weights.c is the weight of no upstream of this rule; there are a, b"),
    ],
)
def test_a_wrong_weight_is_named_with_its_line(tmp_path: Path, line: str, wrong: str, mistake: str) -> None:
    text = BALANCED.replace(line, wrong)
    number = text.splitlines().index(wrong) + 1
    assert find_mistakes_in(tmp_path, text) == [f"config.yaml, line {number}: {mistake}"]


TWO = """upstreams: {gpu-1: {base_url: http://a}, gpu-2: {base_url: http://b}}
models:
  m:
    upstream: [gpu-1, gpu-2]
"""
MISTAKES: dict[str, tuple[str, list[str]]] = {
    "an unknown key of a rule": (
        "models: {m: {parms: {}}}",
        ['models.m.parms is not a key here; did you mean "params"?'],
    ),
    "what JSON can't hold": ("models: {m: {params: {x: .nan}}}", ["models.m.params holds what JSON cannot"]),
    "what a rule has a key for": ("models: {m: {params: {model: x}}}", ["use the key `upstream_model_name`"]),
    "what no request can do without": ("models: {m: {remove: [model]}}", ["models.m.remove must not list 'model'"]),
    "a rule to nowhere": (A + "models: {m: {upstream: [b]}}", ["models.m.upstream names 'b'"]),
    "an upstream twice": (A + "models: {m: {upstream: [a, a]}}", ["names an upstream twice"]),
    "native beside others": (
        "upstreams: {a: {base_url: http://a}, b: {base_url: http://b, native: true}}\nmodels: {m: {upstream: [a, b]}}",
        ["names native upstreams together"],
    ),
    "weights without a balance": (
        TWO + "    weights: {gpu-1: 2}",
        ["config.yaml, line 5: models.m.weights has no effect without `balance`: one of weighted, least_open, sticky"],
    ),
    "weights beside the order of the file": (
        TWO + "    balance: ordered\n    weights: {gpu-1: 2}",
        ["config.yaml, line 6: models.m.weights has no effect without `balance`: one of weighted, least_open, sticky"],
    ),
    "an unknown balance beside weights": (
        TWO + "    balance: stiky\n    weights: {gpu-1: 2}",
        [
            "config.yaml, line 5: models.m.balance 'stiky' must be one of ordered, weighted, least_open, sticky",
            '"sticky"',
        ],
    ),
    "a weight of no upstream": (
        TWO + "    balance: sticky\n    weights: {gpu-3: 2}",
        ["config.yaml, line 6: models.m.weights.gpu-3 is the weight of no upstream", "there are gpu-1, gpu-2; did you"],
    ),
    "weights that are none": (
        TWO + "    balance: sticky\n    weights: 2",
        ["config.yaml, line 6: models.m.weights '2' must be a mapping"],
    ),
    "no text": (
        "models: {m: {append_to_last_user_message: 5}}",
        ["append_to_last_user_message '5' must be a text that is not empty"],
    ),
    "a key twice, deep down": (
        "models:\n  m:\n    params: {}\n    params: {}",
        ["config.yaml, line 4: models/m/params is already set in line 3"],
    ),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_reported_once_with_its_path(tmp_path: Path, text: str, words: list[str]) -> None:
    (mistake,) = find_mistakes_in(tmp_path, text)
    assert all(word in mistake for word in words)
