from __future__ import annotations

import pytest

from argoproxy.protocol.reasoning.policy import Opening
from argoproxy.protocol.routing.llm_params import parse_llm_params
from argoproxy.protocol.routing.rules import Rule


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", []),
        (" ; ;; ", []),
        (
            "model=gemma,temperature=0.5,top_k=40;model=llama2,max_tokens=200",
            [Rule("gemma", {"temperature": 0.5, "top_k": 40}), Rule("llama2", {"max_tokens": 200})],
        ),
        (" model = gemma , temperature = 0.5 ; ", [Rule("gemma", {"temperature": 0.5})]),
        (
            "model=gemma,\n  temperature=0.5;\n  model=b,n=2\n",
            [Rule("gemma", {"temperature": 0.5}), Rule("b", {"n": 2})],
        ),
        ("temperature=1", [Rule("default", {"temperature": 1})]),
        ("model=default,temperature=1", [Rule("default", {"temperature": 1})]),
        ("top_k=1,model=x", [Rule("x", {"top_k": 1})]),
        ("model=qwen*,n=1", [Rule("qwen*", {"n": 1})]),
        ("model=org/name:7b,n=1", [Rule("org/name:7b", {"n": 1})]),
        (
            "a=true,b=false,c=null,d=1,e=-1.5,f=1e3,g=0",
            [Rule("default", {"a": True, "b": False, "c": None, "d": 1, "e": -1.5, "f": 1000.0, "g": 0})],
        ),
        (
            "a=True,b=01,c=.5,d=+1,e=1.,f=hot,g=0x1",
            [Rule("default", {"a": "True", "b": "01", "c": ".5", "d": "+1", "e": "1.", "f": "hot", "g": "0x1"})],
        ),
        (
            "user=123,stop=5,reasoning_effort=null,suffix=true,seed=5",
            [Rule("default", {"user": "123", "stop": "5", "reasoning_effort": "null", "suffix": "true", "seed": 5})],
        ),
        (
            'stop="a,b;c",note="say \\"hi\\"\\n",n="5",x=\'it,s; ok\', y = "" ',
            [Rule("default", {"stop": "a,b;c", "note": 'say "hi"\n', "n": "5", "x": "it,s; ok", "y": ""})],
        ),
        (
            'stop=["a,b", "c;d"],chat_template_kwargs={"enable_thinking": false, "x": [1]} ;model=m,n=1',
            [
                Rule("default", {"stop": ["a,b", "c;d"], "chat_template_kwargs": {"enable_thinking": False, "x": [1]}}),
                Rule("m", {"n": 1}),
            ],
        ),
        ("model=a,x=b=c", [Rule("a", {"x": "b=c"})]),
        (
            "model=a,think_starts_open=auto;model=b,think_starts_open=True;model=c,think_starts_open=0",
            [
                Rule("a", think_starts_open=Opening.AUTO),
                Rule("b", think_starts_open=Opening.OPEN),
                Rule("c", think_starts_open=Opening.CLOSED),
            ],
        ),
        (
            "model=Qwen3-Normal,upstream_model_name=Qwen3-32B,append_to_last_user_message=\\n\\n/no_think",
            [Rule("Qwen3-Normal", {}, "Qwen3-32B", "\n\n/no_think")],
        ),
        (
            "model=m,enable_think_tag_filtering=No,think_tag_start=[THINK],think_tag_end=[/THINK]",
            [
                Rule(
                    "m",
                    enable_think_tag_filtering=False,
                    think_tag_start="[THINK]",
                    think_tag_end="[/THINK]",
                )
            ],
        ),
        ('model="a,b",upstream_model_name=7', [Rule("a,b", upstream_model_name="7")]),
    ],
)
def test_what_llm_params_mean(text: str, rules: list[Rule]) -> None:
    assert parse_llm_params(text) == (tuple(rules), ())


@pytest.mark.parametrize(
    ("text", "rules", "warnings"),
    [
        (
            "model=a,n=1,foo,temperature=",
            [Rule("a", {"n": 1})],
            [
                "LLM_PARAMS, group 1 (model=a): ignored 'foo', which is not key=value",
                "LLM_PARAMS, group 1 (model=a): ignored 'temperature=', which has no usable value",
            ],
        ),
        (
            "model=a,n=1;;=5,model=b,n=2",
            [Rule("a", {"n": 1}), Rule("b", {"n": 2})],
            ["LLM_PARAMS, group 2 (model=b): ignored '=5', which is not key=value"],
        ),
        (
            "model=a,n=1,model=b",
            [Rule("a", {"n": 1})],
            ["LLM_PARAMS, group 1 (model=a): ignored 'model=b': a group has one model, ';' begins the next group"],
        ),
        (
            'stop=["a,n=2;model=m,n=1',
            [Rule("default", {"n": 2}), Rule("m", {"n": 1})],
            ["LLM_PARAMS, group 1 (model=default): ignored 'stop=[\"a', which has no usable value"],
        ),
        (
            'a="x" y,b="',
            [Rule("default")],
            [
                "LLM_PARAMS, group 1 (model=default): ignored 'a=\"x\" y', which has no usable value",
                "LLM_PARAMS, group 1 (model=default): ignored 'b=\"', which has no usable value",
            ],
        ),
        (
            'x=[NaN],y=[1e999],z={"a":-Infinity},k=1',
            [Rule("default", {"k": 1})],
            [
                "LLM_PARAMS, group 1 (model=default): ignored 'x=[NaN]', which has no usable value",
                "LLM_PARAMS, group 1 (model=default): ignored 'y=[1e999]', which has no usable value",
                "LLM_PARAMS, group 1 (model=default): ignored 'z={\"a\":-Infinity}', which has no usable value",
            ],
        ),
        (
            "a=1e999",
            [Rule("default")],
            ["LLM_PARAMS, group 1 (model=default): ignored 'a=1e999', which has no usable value"],
        ),
        (
            "a=" + "9" * 5000,
            [Rule("default")],
            [f"LLM_PARAMS, group 1 (model=default): ignored 'a={'9' * 5000}', which has no usable value"],
        ),
        (
            'model=,upstream_model_name="",enable_think_tag_filtering=maybe',
            [Rule("default")],
            [
                "LLM_PARAMS, group 1 (model=default): ignored 'model=', which has no usable value",
                "LLM_PARAMS, group 1 (model=default): ignored 'upstream_model_name=\"\"', which has no usable value",
                "LLM_PARAMS, group 1 (model=default): ignored 'enable_think_tag_filtering=maybe', "
                "which is not true or false",
            ],
        ),
        ("model=a", [Rule("a")], ["LLM_PARAMS, group 1 (model=a): sets nothing"]),
        (
            "model=a,think_starts_open=maybe",
            [Rule("a")],
            [
                "LLM_PARAMS, group 1 (model=a): ignored 'think_starts_open=maybe', which is not true, false or auto",
            ],
        ),
        (
            "model=a,n=1,x=1;model=a,n=2,upstream_model_name=b",
            [Rule("a", {"n": 2, "x": 1}, "b")],
            ["LLM_PARAMS, group 2 (model=a): the model already has a group; this one is merged with it"],
        ),
    ],
)
def test_malformed_pieces_are_left_out_and_told(text: str, rules: list[Rule], warnings: list[str]) -> None:
    assert parse_llm_params(text) == (tuple(rules), tuple(warnings))
