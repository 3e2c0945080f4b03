"""Several upstreams behind one door: an OpenAI-compatible server, the Argo gateway, and one of a user's own."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually, free_port, shell
from tests.support.scripts import completion, reply

ROOT = Path(__file__).resolve().parent.parent.parent

OWN = '''
from argoproxy.api import BadRequest, Document, UpstreamRequest, error_from_reply, loads_or_none


class Upper:
    """A provider with a dialect of its own, in thirty lines."""

    def __init__(self, base_url: str, shout: bool = True) -> None:
        if not isinstance(shout, bool):
            raise ValueError("shout must be true or false")
        self.base_url, self.shout = base_url.rstrip("/"), shout

    def completion_request(self, call):
        said = str(call.body["messages"][-1]["content"])
        if said == "refuse":
            raise BadRequest("Nothing to say.", param="messages")
        if said == "crash":
            raise KeyError("words of mine")
        body = said.encode()
        return UpstreamRequest("POST", self.base_url + "/speak", (), body, len(body))

    def read_completion(self, reply, call):
        told = loads_or_none(reply.read())
        if told["body"] == "crash later":
            yield []
            raise KeyError("words of mine")
        while told["body"] == "think forever":
            yield []
        text = told["body"].upper() if self.shout else told["body"]
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        yield [Document.of({"id": call.id, "object": "chat.completion", "created": call.created,
                            "model": call.requested_model, "choices": [choice]})]

    def read_error(self, status, headers, body):
        return error_from_reply(status, headers, body)

    def static_models(self, created):
        return [{"id": "upper-1", "object": "model", "created": created, "owned_by": "me"}]

    def forward_request(self, request):
        return UpstreamRequest(request.method, self.base_url + request.path, (), request.body.iter_bytes(),
                               request.body.length)
'''

CONFIG = """
upstreams:
  first: {{base_url: "{first}"}}
  gateway: {{kind: argo, base_url: "{second}/argoapi", user: me}}
  mine:
    kind: upper:Upper
    base_url: "{third}/mine"
    options: {{shout: true}}
  dead: {{base_url: "http://127.0.0.1:{dead}/v1"}}
  spare: {{base_url: "{third}", api_key: "${{SPARE_KEY}}"}}
models:
  "argo:*": {{upstream: gateway}}
  "upper-*": {{upstream: mine}}
  gone: {{upstream: dead}}
  safe: {{upstream: [dead, spare], upstream_model_name: m2}}
  spare-only: {{upstream: spare}}
"""


def written(folder: Path, text: str) -> dict[str, str]:
    (folder / "config.yaml").write_text(text)
    (folder / "upper.py").write_text(OWN)
    return {"CONFIG_PATH": str(folder / "config.yaml")}


@pytest.fixture(scope="module")
def others() -> Iterator[tuple[Upstream, Upstream]]:
    """Two more upstream processes."""
    running = (Upstream(), Upstream())
    yield running
    for one in running:
        one.stop()


@pytest.fixture(scope="module")
def door(
    serve: Serve, upstream: Upstream, others: tuple[Upstream, Upstream], tmp_path_factory: pytest.TempPathFactory
) -> Proxy:
    second, third = others
    text = CONFIG.format(first=upstream.url, second=second.url, third=third.url, dead=free_port())
    return serve(**written(tmp_path_factory.mktemp("routing"), text), SPARE_KEY="sk-spare-123456")


def said(answer: Answer) -> str:
    text: str = answer.json["choices"][0]["message"]["content"]
    return text


def test_requests_go_by_rule(door: Proxy, upstream: Upstream, others: tuple[Upstream, Upstream]) -> None:
    assert said(chat(door.port, model="m1")) == "Hello there!"
    assert "you said: Hi" in said(chat(door.port, model="argo:gpt-4o"))
    assert said(chat(door.port, model="upper-1")) == "HI"
    assert said(chat(door.port, model="spare-only")) == "Hello there!"
    names = [door.line(chat(door.port, model=model).id)["upstream"] for model in ("m1", "argo:gpt-4o", "upper-1")]
    assert names == ["first", "gateway", "mine"]
    assert said(chat(door.port, model="upper-1", stream=False)) == "HI"
    streamed = chat(door.port, model="upper-1", stream=True)
    assert (streamed.text, streamed.body.endswith(b"data: [DONE]\n\n")) == ("HI", True)


def test_keys_stay_with_their_upstream(door: Proxy, upstream: Upstream, others: tuple[Upstream, Upstream]) -> None:
    theirs = {"Authorization": "Bearer theirs"}
    for model, sent in (("m1", "Bearer theirs"), ("spare-only", "Bearer sk-spare-123456")):
        where = upstream if model == "m1" else others[1]
        script = where.script(reply(body=completion("your key is sk-spare-123456")))
        answer = chat(door.port, model=model, headers={**theirs, "X-Script": script})
        assert dict(where.last(script)["headers"])["Authorization"] == sent
        assert ("sk-spare" in answer.body.decode()) == (model == "m1")
    script = others[1].script(reply(body=json.dumps({"body": "x"}).encode()))
    chat(door.port, model="upper-1", headers=theirs)
    assert "Authorization" not in dict(others[1].last()["headers"])


def test_forwarded_paths_go_by_rule_too(door: Proxy, upstream: Upstream, others: tuple[Upstream, Upstream]) -> None:
    for model, where in (("m1", upstream), ("spare-only", others[1]), ("upper-2", others[1])):
        answer = ask(door.port, "POST", "/v1/moderations", json.dumps({"model": model, "x": [1]}).encode())
        assert json.loads(answer.json["body"]) == {"model": model, "x": [1]}
        assert answer.json["target"] == ("/mine/v1/moderations" if model == "upper-2" else "/v1/moderations")
        assert where.last()["body"] == answer.json["body"]
    assert ask(door.port, "POST", "/v1/moderations", b'{"model": "argo:gpt-4o"}').status == 404
    assert ask(door.port, "POST", "/v1/other", b"model=spare-only").json["target"] == "/v1/other"
    big = b'{"model": "spare-only", "x": "' + b"x" * (9 * 1024 * 1024) + b'"}'
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        body = big if not headers else b"%x\r\n%b\r\n0\r\n\r\n" % (len(big), big)
        answer = ask(door.port, "POST", "/v1/other", body, **headers)
        assert answer.json["length"] == len(big)
        assert door.line(answer.id)["upstream"] == "first"


def test_the_gateways_own_paths_are_served(door: Proxy) -> None:
    body = json.dumps({"model": "gpt4o", "prompt": ["Hi"]}).encode()
    assert "response" in ask(door.port, "POST", "/v1/chat", body).json
    assert ask(door.port, "GET", "/v1/status").status == 200


def test_the_next_upstream_is_asked_when_the_first_refuses_the_connection(
    door: Proxy, others: tuple[Upstream, Upstream]
) -> None:
    for stream in (False, True):
        answer = chat(door.port, model="safe", stream=stream)
        assert (answer.text if stream else said(answer)) == "Hello there!"
        assert json.loads(others[1].last()["body"])["model"] == "m2"
        line = door.line(answer.id)
        assert (line["upstream"], line["ending"]) == ("spare", "complete")
    answer = chat(door.port, model="gone")
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    body = json.dumps({"model": "safe", "input": "x"}).encode()
    assert ask(door.port, "POST", "/v1/embeddings", body).json["model"] == "m2"


def test_only_failures_that_are_listed_are_a_reason_to_ask_another(
    serve: Serve, upstream: Upstream, others: tuple[Upstream, Upstream], tmp_path: Path
) -> None:
    text = f"upstreams:\n  a: {{base_url: {upstream.url}}}\n  b: {{base_url: {others[0].url}}}\n"
    proxy = serve(**written(tmp_path, text + "models:\n  m: {upstream: [a, b], fallback_on: [connect]}\n"))
    failing = upstream.script(reply("503 Busy", b'{"error": {"message": "busy"}}'))
    assert chat(proxy.port, model="m", headers={"X-Script": failing}).json["error"]["message"] == "busy"
    cut = upstream.script(["send", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"], ["close"])
    assert chat(proxy.port, model="m", headers={"X-Script": cut}).status == 502
    assert others[0].seen(failing) == others[0].seen(cut) == []


def listed(door: Proxy) -> list[str]:
    return [entry["id"] for entry in ask(door.port, "GET", "/v1/models").json["data"]]


def test_models_of_all_upstreams_are_listed_by_who_answers_for_them(door: Proxy) -> None:
    names = listed(door)
    assert names[:2] == ["m1", "m2"]
    assert {"argo:gpt-4o", "argo:gpt-9-ultra", "upper-1", "safe"} <= set(names)
    assert len(set(names)) == len(names)
    assert "spare-only" not in names
    for name in ("upper-1", "argo:gpt-4o", "safe"):
        assert ask(door.port, "GET", f"/v1/models/{name}").json["id"] == name
    assert ask(door.port, "GET", "/v1/models/upper-9").status == 404


def test_a_hanging_upstream_slows_nobody_and_the_list_only_so_far(
    serve: Serve, upstream: Upstream, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        hanging = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        text = f"upstreams:\n  first: {{base_url: {upstream.url}}}\n"
        text += f"  hanging: {{base_url: {hanging}, api_key: k-123456}}\n"
        text += "models:\n  h*: {upstream: hanging, upstream_model_name: x}\n  mine: {upstream_model_name: m1}\n"
        proxy = serve(**written(tmp_path, text))
        begun = time.monotonic()
        assert listed(proxy) == ["m1", "m2", "mine"]
        waited_s = time.monotonic() - begun
        assert waited_s > 4
        begun = time.monotonic()
        assert listed(proxy) == ["m1", "m2", "mine"], "for a while it is not asked again"
        assert said(chat(proxy.port, model="m1")) == "Hello there!"
        assert time.monotonic() - begun < waited_s
        health = ask(proxy.port, "GET", "/health")
        assert health.status == 200
        assert [told["reachable"] for told in health.json["upstreams"]] == [True, False]


def test_health_tells_of_each_and_the_default_decides(door: Proxy) -> None:
    health = ask(door.port, "GET", "/health")
    told = {one["name"]: one["reachable"] for one in health.json["upstreams"]}
    assert told == {"first": True, "gateway": True, "mine": True, "dead": False, "spare": True}
    assert (health.status, health.json["target"]["name"]) == (200, "first")


def endings(door: Proxy) -> Counter[str]:
    """Count the endings that stand in the log."""
    return Counter(line["ending"] for line in door.lines())


def test_a_class_that_raises_costs_its_request_only(door: Proxy) -> None:
    refused = chat(door.port, model="upper-1", messages=[{"role": "user", "content": "refuse"}])
    assert (refused.status, refused.error["param"]) == (400, "messages")
    for stream in (False, True):
        for words in ("crash", "crash later"):
            answer = chat(door.port, model="upper-1", stream=stream, messages=[{"role": "user", "content": words}])
            told = answer.chunks[-1]["error"] if stream and words == "crash later" else answer.error
            assert told["code"] == "own_class_failed"
            assert "words of mine" not in answer.body.decode()
            assert door.line(answer.id)["code"] == "own_class_failed"
    assert len(door.coded("plugin_failed")) == 4
    assert said(chat(door.port, model="upper-1")) == "HI"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_may_leave_a_class_that_never_ends(door: Proxy, stream: bool) -> None:
    asked = {"model": "upper-1", "stream": stream, "messages": [{"role": "user", "content": "think forever"}]}
    body = json.dumps(asked).encode()
    before = endings(door)["client_gone"]
    with socket.create_connection(("127.0.0.1", door.port)) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
    eventually(lambda: endings(door)["client_gone"] > before)


def test_a_client_may_leave_while_lists_are_awaited(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        hanging = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        text = f"upstreams:\n  hanging: {{base_url: {hanging}}}\n  first: {{base_url: {upstream.url}}}\n"
        proxy = serve(**written(tmp_path, text))
        client = socket.create_connection(("127.0.0.1", proxy.port))
        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        asked, _ = silent.accept()
        with asked:
            client.close()
            eventually(lambda: endings(proxy)["client_gone"])


REFUSED: dict[str, tuple[str, str]] = {
    "an unknown kind": ("upstreams: {a: {kind: opena}}", 'did you mean "openai"?'),
    "an unknown name": (
        "upstreams: {a: {kind: demo}}\nmodels: {m: {upstream: b}}",
        "models.m.upstream names 'b'",
    ),
    "a variable that is not set": ("upstreams: {a: {base_url: 'http://x', api_key: '${NONE}'}}", "uses ${NONE}"),
    "two rules for one name": ("models:\n  m: {}\n  m: {}\n", "models/m is already set in line 2"),
    "a module that is not there": ("upstreams: {a: {kind: 'none.such:Class'}}", "upstreams.a: cannot import none.such"),
    "a class that is not there": ("upstreams: {a: {kind: 'upper:Other'}}", "has no class Other"),
    "a class without methods": (
        "upstreams: {a: {kind: 'upper:BadRequest'}}",
        "completion_request, read_completion, read_error",
    ),
    "options it refuses": (
        "upstreams: {a: {kind: 'upper:Upper', base_url: 'http://x', options: {shout: 5}}}",
        "upper:Upper rejects its options: shout must be true or false",
    ),
    "options it does not know": (
        "upstreams: {a: {kind: 'upper:Upper', base_url: 'http://x', options: {whisper: 5}}}",
        "unexpected keyword argument 'whisper'",
    ),
    "an unknown key of an upstream": ("upstreams: {a: {base_ur: 'http://x'}}", 'did you mean "base_url"?'),
    "a class that is no authenticator": ("demo: true\nauthenticate: 'upper:Upper'", "the method authenticate"),
}


STARTS = ["python cot_proxy.py", "gunicorn -c gunicorn.conf.py cot_proxy:app"]
#: Both ways to start read the settings alike: each mistake is tried in one of them, in turn, and with LAB=full in both.
MISTAKES = [
    (name, how)
    for place, name in enumerate(REFUSED)
    for how in (STARTS if os.environ.get("LAB") == "full" else STARTS[place % 2 :][:1])
]


@pytest.mark.parametrize(("name", "how"), MISTAKES)
def test_a_broken_configuration_is_refused_in_a_line(tmp_path: Path, name: str, how: str) -> None:
    words, (text, mistake) = how.split(), REFUSED[name]
    settings = written(tmp_path, text)
    command = {
        "python": f"python {ROOT / words[1]}",
        "gunicorn": f"gunicorn -c {ROOT / 'gunicorn.conf.py'} --pythonpath {ROOT} cot_proxy:app",
    }[words[0]]
    ended = shell(command, tmp_path, {**settings, "PORT": str(free_port())})
    told = ended.stderr.decode()
    lines = [line for line in told.splitlines() if line.startswith("  - ")]
    assert len(lines) == 1, told
    assert mistake in lines[0]
    assert "Traceback" not in told
    assert ended.returncode == 2 or (words[0] == "gunicorn" and ended.returncode != 0)


def test_the_same_rules_in_either_language(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    by_name = {name: rule for name, (_, rule) in RULES.items()}
    (tmp_path / "yaml").mkdir()
    text = json.dumps({"target_base_url": upstream.url, "models": by_name})
    by_file = serve(**written(tmp_path / "yaml", text))
    by_variable = serve(TARGET_BASE_URL=upstream.url, LLM_PARAMS=";".join(said for said, _ in RULES.values()))
    for name in RULES:
        asked: dict[str, Any] = {"model": name.replace("*", "-x"), "temperature": 1, "messages": [USER]}
        sent = []
        for proxy in (by_file, by_variable):
            script = upstream.script(reply(body=completion("<think>a</think>[r]b[/r]c")))
            answer = ask(proxy.port, "POST", "/v1/chat/completions", json.dumps(asked).encode(), X_Script=script)
            sent.append((upstream.last(script)["body"], said(answer)))
        assert sent[0] == sent[1], name


USER = {"role": "user", "content": "Hi"}
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "r01": ("model=r01,temperature=0.5,top_k=40", {"params": {"temperature": 0.5, "top_k": 40}}),
    "r02": ("model=r02,max_tokens=200", {"params": {"max_tokens": 200}}),
    "r03*": ("model=r03*,top_p=0.8", {"params": {"top_p": 0.8}}),
    "r04": ("model=r04,upstream_model_name=x", {"upstream_model_name": "x"}),
    "r05": ("model=r05,append_to_last_user_message=\\n/no_think", {"append_to_last_user_message": "\n/no_think"}),
    "r06": ("model=r06,enable_think_tag_filtering=false", {"enable_think_tag_filtering": False}),
    "r07": (
        "model=r07,think_tag_start=[r],think_tag_end=[/r]",
        {"think_tag_start": "[r]", "think_tag_end": "[/r]"},
    ),
    "r08": ('model=r08,stop="a,b;c"', {"params": {"stop": "a,b;c"}}),
    "r09": ('model=r09,stop=["a","b"]', {"params": {"stop": ["a", "b"]}}),
    "r10": (
        'model=r10,chat_template_kwargs={"enable_thinking":false}',
        {"params": {"chat_template_kwargs": {"enable_thinking": False}}},
    ),
    "r11": ("model=r11,seed=null", {"params": {"seed": None}}),
    "r12": ("model=r12,user=123", {"params": {"user": "123"}}),
    "r13": ("model=r13,logprobs=true,top_logprobs=2", {"params": {"logprobs": True, "top_logprobs": 2}}),
    "r14": ("model=r14,temperature=1e-3", {"params": {"temperature": 0.001}}),
    "r15": ("model=r15,note='it, is; so'", {"params": {"note": "it, is; so"}}),
    "r16": ("model=r16,temperature=1", {"params": {"temperature": 1}}),
    "r17": ("model=r17,n=2,best_of=3", {"params": {"n": 2, "best_of": 3}}),
    "r18": ("model=r18,reasoning_effort=low", {"params": {"reasoning_effort": "low"}}),
    "r19": ("model=r19,x=true,y=false", {"params": {"x": True, "y": False}}),
    "r20?": ("model=r20?,x=1", {"params": {"x": 1}}),
    "r21": ("model=r21,upstream_model_name=y,x=1", {"upstream_model_name": "y", "params": {"x": 1}}),
    "r22": (
        "model=r22,upstream_model_name=z,append_to_last_user_message=!,x=0",
        {"upstream_model_name": "z", "append_to_last_user_message": "!", "params": {"x": 0}},
    ),
    "r23": ("model=r23,service_tier=auto", {"params": {"service_tier": "auto"}}),
    "r24": ("model=r24,x=hot", {"params": {"x": "hot"}}),
    "r25": ('model=r25,x="5"', {"params": {"x": "5"}}),
    "r26": ("model=r26,x=[1,2,3]", {"params": {"x": [1, 2, 3]}}),
    "r27": ("model=r27,think_tag_start=<t>", {"think_tag_start": "<t>"}),
    "r28": ("model=r28,enable_think_tag_filtering=true", {"enable_think_tag_filtering": True}),
    "r29": ("model=r29,repetition_penalty=1.05,min_p=0", {"params": {"repetition_penalty": 1.05, "min_p": 0}}),
    "default": ("model=default,x=9", {"params": {"x": 9}}),
}


def test_llm_params_beat_the_file_field_by_field(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    text = f"target_base_url: {upstream.url}\nmodels:\n  m: {{params: {{x: 1, y: 1}}, upstream_model_name: file}}\n"
    proxy = serve(**written(tmp_path, text), LLM_PARAMS="model=m,x=2")
    script = upstream.script(reply(body=completion("Hi")))
    chat(proxy.port, model="m", headers={"X-Script": script})
    sent = json.loads(upstream.last(script)["body"])
    assert (sent["model"], sent["x"], sent["y"]) == ("file", 2, 1)


def test_what_becomes_of_a_model_is_told(tmp_path: Path) -> None:
    settings = written(tmp_path, "upstreams: {a: {kind: demo}}\nmodels: {m*: {params: {x: 1}}}\n")
    told = shell(f"python {ROOT / 'cot_proxy.py'} config show --model m5", tmp_path, settings).stdout.decode()
    assert 'rules: ["m* (models)"]' in told
    assert 'upstream: "a"' in told
    assert '"model":"m5"' in told
    assert '"x":1' in told
    wrong = shell(f"python {ROOT / 'cot_proxy.py'} --model m5", tmp_path, settings)
    assert wrong.returncode == 2


def test_the_class_in_the_documentation_serves(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
    assert found
    assert len(found.group(1).splitlines()) <= 30
    (tmp_path / "my_upstream.py").write_text(found.group(1))
    text = f"upstreams: {{mine: {{kind: 'my_upstream:Shouting', base_url: {upstream.url}, options: {{loud: true}}}}}}"
    proxy = serve(**written(tmp_path, text))
    assert said(chat(proxy.port)) == "HI"
    assert chat(proxy.port, stream=True).text == "HI"
