"""What holds for chats holds for Messages and Responses too, converted and handed over: keys, records, heartbeats,
compatible errors, modes, the list of allowed models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.client import Answer, Client, ask
from tests.support.fixtures import Serve
from tests.support.journal_reader import JournalReader
from tests.support.processes import Upstream
from tests.support.scripts import CHUNKED, DONE, bodies, completion, event, reply

Json = dict[str, Any]

OURS = "sk-ours-0123456789abcdef"
CLIENTS, FOREIGN = "sk-client-0123456789abcdef", "sk-foreign-0123456789abcdef"
#: Converted to a chat, and handed over.
SURFACES = [("/v1/messages", "m1"), ("/v1/messages", "c1"), ("/v1/responses", "m1"), ("/v1/responses", "r1")]
MESSAGE = b'{"type":"message","content":[],"usage":{"input_tokens":3,"output_tokens":4}}'
RESPONSE = b'{"object":"response","status":"completed","output":[],"usage":{"input_tokens":3,"output_tokens":4}}'
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
CHAT = json.dumps({**json.loads(completion("ok")), "usage": USAGE}).encode()
WHOLE = {"m1": CHAT, "c1": MESSAGE, "r1": RESPONSE}

each_surface = pytest.mark.parametrize(("path", "model"), SURFACES)


@pytest.fixture(scope="module")
def pages(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> JournalReader:
    folder = tmp_path_factory.mktemp("beside")
    server = {"base_url": f"{upstream.url}/v1", "api_key": OURS}
    upstreams = {
        "chats": {**server, "responses": "convert"},
        "responses": {**server, "responses": "forward"},
        "messages": {"kind": "anthropic", "base_url": upstream.url, "api_key": OURS},
    }
    models = {"r1": {"upstream": "responses"}, "c1": {"upstream": "messages"}}
    (folder / "config.yaml").write_text(json.dumps({"upstreams": upstreams, "models": models}))
    proxy = serve(
        CONFIG_PATH=str(folder / "config.yaml"),
        OUTPUT_PATH=str(folder / "journal"),
        ENABLE_AUTH="true",
        API_KEY_SECRET=f"team={CLIENTS}",
        ALLOWED_MODELS="m1,c1,r1",
        EARLY_HEARTBEAT="true",
        HEARTBEAT="0.1",
    )
    return JournalReader(proxy, folder / "journal")


def body_of(path: str, model: str, **fields: Any) -> Json:
    asked = (
        {"input": "Hi"} if "responses" in path else {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    )
    return {"model": model, **asked, **fields}


def post(pages: JournalReader, path: str, body: Json, script: str = "", **headers: str) -> Answer:
    sent = {"Authorization": f"Bearer {CLIENTS}", **headers, **({"X_Script": script} if script else {})}
    return ask(pages.proxy.port, "POST", path, json.dumps(body).encode(), **sent)


@each_surface
@pytest.mark.parametrize("ours", ["Authorization", "x-api-key"])
def test_no_key_of_a_client_goes_up_beside_ours(
    pages: JournalReader, upstream: Upstream, path: str, model: str, ours: str
) -> None:
    headers = {"Authorization": f"Bearer {FOREIGN}", "x-api-key": FOREIGN, "api-key": FOREIGN}
    headers[ours] = CLIENTS if ours == "x-api-key" else f"Bearer {CLIENTS}"
    script = upstream.script(reply(body=WHOLE[model], Content_Type="application/json"))
    answer = post(pages, path, body_of(path, model), script, **headers)
    assert answer.status == 200
    seen = json.dumps(upstream.last(script))
    assert (seen.count(OURS), CLIENTS in seen, FOREIGN in seen) == (1, False, False)


@each_surface
def test_an_exchange_is_recorded_as_it_was(pages: JournalReader, upstream: Upstream, path: str, model: str) -> None:
    script = upstream.script(reply(body=WHOLE[model], Content_Type="application/json"))
    body = body_of(path, model, metadata={"user_id": "u"}, api_key=FOREIGN, timeout=30)
    answer = post(pages, path, body, script)
    client, (server,) = pages.of(answer)
    assert {**client["input"], "api_key": FOREIGN} == body
    assert FOREIGN not in json.dumps([client, server])
    for line in (client, server):
        assert (line["ending"], line["model"], line["status"], line["return_mode"]) == (
            "complete",
            model,
            200,
            "non_stream",
        )
    line = pages.proxy.line(answer.id)
    told = (line["route"], line["key"], line["prompt_tokens"], line["completion_tokens"], line["ending"])
    assert told == (path, "team", "3", "4", "complete")


@each_surface
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_that_shows_our_key_is_starred(
    pages: JournalReader, upstream: Upstream, path: str, model: str, stream: bool
) -> None:
    error = {"type": "error", "error": {"type": "authentication_error", "message": f"Bad key {OURS}.", "code": None}}
    script = upstream.script(reply("401 No", json.dumps(error).encode(), Content_Type="application/json", X_Key=OURS))
    answer = post(pages, path, body_of(path, model, stream=stream), script)
    client, servers = pages.of(answer)
    assert answer.status == 401
    assert "Bad key" in answer.json["error"]["message"]
    for place in (answer.body.decode(), repr(answer.headers), json.dumps([client, servers]), pages.proxy.log()):
        assert OURS not in place
    line = pages.proxy.line(answer.id)
    assert (line["ending"], line["status"]) == ("upstream_error", "401")


@each_surface
def test_it_beats_early_and_fails_in_the_words_of_its_api(
    pages: JournalReader, upstream: Upstream, path: str, model: str
) -> None:
    error = b'{"error":{"message":"Not you.","type":"t","param":null,"code":"c"}}'
    script = upstream.script(["await"], reply("401 No", error, Content_Type="application/json"))
    beat = b"event: ping\n" if "messages" in path else b": heartbeat\n"
    with Client(pages.proxy.port) as client:
        headers = {"Authorization": f"Bearer {CLIENTS}", "X_Script": script}
        client.send("POST", path, json.dumps(body_of(path, model, stream=True)).encode(), **headers)
        client.until(beat, 2)
        upstream.open(script)
        answer = client.answer()
    name, data = answer.body.decode().split("\n\n")[-2].split("\n")
    last = json.loads(data.removeprefix("data: "))
    assert (answer.status, answer.whole, name) == (200, True, f"event: {last['type']}")
    if "messages" in path:
        assert last["type"] == "error"
        said = last["error"]["message"]
    else:
        assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
        assert isinstance(last["response"]["error"]["code"], str)
        said = last["response"]["error"]["message"]
    assert said == "Not you."


@each_surface
@pytest.mark.parametrize("stream", [False, True])
def test_errors_under_a_status_of_success(
    pages: JournalReader, upstream: Upstream, path: str, model: str, stream: bool
) -> None:
    error = b'{"type":"error","error":{"message":"Not you.","type":"invalid_request_error"}}'
    script = upstream.script(reply("400 No", error, Content_Type="application/json"))
    for body, headers in ((body_of(path, model), {}), (body_of(path, "m9"), {}), ({}, {"Authorization": "Bearer x"})):
        answer = post(pages, path, {**body, "stream": stream}, script, X_Compatible="true", **headers)
        assert answer.status == 200
        if not stream:
            assert answer.json["error"]["message"]
            continue
        name, data = answer.body.decode().removesuffix("\n\n").split("\n")
        assert name in ("event: error", "event: response.failed")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["stream", "non_stream"])
def test_an_upstream_is_asked_in_the_other_mode(
    pages: JournalReader, upstream: Upstream, path: str, stream: bool, mode: str
) -> None:
    events = [event("ok"), event("", "stop"), f"data: {json.dumps({'choices': [], 'usage': USAGE})}\n\n", DONE]
    step = ["send", CHUNKED + bodies(events)] if mode == "stream" else reply(body=WHOLE["m1"])
    script = upstream.script(step)
    answer = post(pages, path, body_of(path, "m1", stream=stream), script, X_Upstream_Mode=mode)
    assert answer.header("Content-Type").startswith("text/event-stream" if stream else "application/json")
    assert b'"ok"' in answer.body
    assert (json.loads(upstream.last(script)["body"]).get("stream") is True) is (mode == "stream")
    line = pages.proxy.line(answer.id)
    assert (line["send_mode"], line["return_mode"]) == (mode, "stream" if stream else "non_stream")
    assert (line["completion_tokens"], line["ending"]) == ("4", "complete")


@each_surface
@pytest.mark.parametrize(
    "tool",
    [{"type": "image_generation", "model": "m2"}, {"type": "advisor", "name": "a", "Model": "m2"}, {"model": [1]}],
)
def test_a_tool_can_not_name_a_model_that_is_not_allowed(
    pages: JournalReader, upstream: Upstream, path: str, model: str, tool: Json
) -> None:
    script = upstream.script(reply(body=WHOLE[model], Content_Type="application/json"))
    body = body_of(path, model, tools=[{"type": "x", **tool}])
    if "messages" in path:
        body["tools"][0].setdefault("name", "t")
    assert post(pages, path, body, script).status == 403
    assert upstream.count(script) == 0
