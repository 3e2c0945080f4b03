"""Images in messages: fetched, checked, made to fit; hostile URLs; real Gunicorn, real servers."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.client import Answer, Client, ask
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Proxy, Upstream, eventually
from tests.support.providers.argo import CHAT
from tests.support.scripts import reply

PATH = "/v1/chat/completions"
MIB = 1024 * 1024


def serving(serve: Serve, upstream: Upstream, mode: str, image_timeout_s: int = 5, **more: str) -> Proxy:
    modes = {
        "argo": {"ARGO_BASE_URL": f"{upstream.url}/argoapi", "ARGO_USER": "me"},
        "native": {"USE_NATIVE_OPENAI": "1", "NATIVE_OPENAI_BASE_URL": f"{upstream.url}/v1"},
        "openai": {"TARGET_BASE_URL": upstream.url, "INLINE_IMAGES": "true"},
    }
    return serve(
        **modes[mode], IMAGE_ALLOW_PRIVATE=f"127.0.0.1:{upstream.port}", IMAGE_TIMEOUT=str(image_timeout_s), **more
    )


@pytest.fixture
def proxy(serve: Serve, upstream: Upstream) -> Proxy:
    return serving(serve, upstream, "argo")


def picture(kind: str = "png", size: tuple[int, int] = (32, 24)) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(out, kind)
    return out.getvalue()


def at(upstream: Upstream, *steps: Any) -> str:
    """Give a URL under which these steps are played."""
    return f"http://127.0.0.1:{upstream.port}/s/{upstream.script(*steps)}/x.png"


def served(upstream: Upstream, data: bytes, folder: Path, *before: Any, kind: str = "image/png") -> str:
    file = folder / f"{len(list(folder.iterdir()))}.bin"
    file.write_bytes(data)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    return at(upstream, *before, ["send", head], ["file", str(file)])


def redirect(upstream: Upstream, to: str) -> str:
    return at(upstream, ["send", f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"])


def message(*urls: Any) -> bytes:
    parts = [{"type": "text", "text": "What is this?"}, *({"type": "image_url", "image_url": url} for url in urls)]
    return json.dumps({"model": "gpt4o", "messages": [{"role": "user", "content": parts}]}).encode()


def post(proxy: Proxy, *urls: Any) -> Answer:
    return ask(proxy.port, "POST", PATH, message(*urls))


def sent_urls(upstream: Upstream, target: str = CHAT) -> list[str]:
    body = json.loads(upstream.seen_at(target)[-1]["body"].encode("latin-1"))
    parts = body["messages"][0]["content"][1:]
    return [part["image_url"]["url"] if isinstance(part["image_url"], dict) else part["image_url"] for part in parts]


def bytes_of(url: str) -> bytes:
    return base64.b64decode(url.partition(";base64,")[2])


@pytest.mark.parametrize("mode", ["argo", "native", "openai"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif"])
def test_a_url_becomes_the_very_bytes(serve: Serve, upstream: Upstream, tmp_path: Path, mode: str, kind: str) -> None:
    data = picture(kind)
    url = served(upstream, data, tmp_path, kind="application/octet-stream")
    answer = post(serving(serve, upstream, mode), {"url": url, "detail": "low"}, url)
    assert answer.status == 200
    urls = sent_urls(upstream, CHAT if mode == "argo" else PATH)
    assert [one.partition(",")[0] for one in urls] == [f"data:image/{kind};base64"] * 2
    assert [bytes_of(one) for one in urls] == [data] * 2
    assert upstream.count(url.split("/")[4]) == 1, "fetched once"


def test_raw_chats_too(proxy: Proxy, upstream: Upstream, tmp_path: Path) -> None:
    url = served(upstream, picture(), tmp_path)
    assert ask(proxy.port, "POST", "/v1/chat", message({"url": url})).status == 200
    assert sent_urls(upstream)[0].startswith("data:image/png;base64,")


def test_data_urls_stay_as_they_are(proxy: Proxy, upstream: Upstream) -> None:
    odd = "data:image/png;base64,bm8gaW1hZ2U="
    assert post(proxy, {"url": odd}).status == 200
    assert sent_urls(upstream) == [odd]


def test_elsewhere_urls_stay_unless_it_is_asked_for(serve: Serve, upstream: Upstream) -> None:
    plain = serve(TARGET_BASE_URL=upstream.url)
    body = message({"url": "http://127.0.0.1:1/x"}, "x")
    assert ask(plain.port, "POST", PATH, body).status == 200
    assert upstream.last("")["body"].encode("latin-1") == body


def test_a_request_differs_in_the_url_alone(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    native = serving(serve, upstream, "native")
    url = served(upstream, picture(), tmp_path)
    part = '{"type" : "image_url","image_url":"%s"}'
    text = '{ "model":"x" , "messages": [ {"content":[' + part + ' ], "role":"user"}], "n": 1.50}'
    assert ask(native.port, "POST", PATH, (text % url).encode()).status == 200
    body: str = upstream.seen_at(PATH)[-1]["body"]
    assert body == text % f"data:image/png;base64,{base64.b64encode(picture_of(body)).decode()}"


def picture_of(body: str) -> bytes:
    return bytes_of(json.loads(body)["messages"][0]["content"][0]["image_url"])


REDIRECTED = 3


def test_redirects_are_followed(proxy: Proxy, upstream: Upstream, tmp_path: Path) -> None:
    url = served(upstream, picture(), tmp_path)
    for hop in range(REDIRECTED):
        url = redirect(upstream, url if hop else "/" + url.split("/", 3)[3])
    assert post(proxy, {"url": url}).status == 200
    endless = upstream.script(["send", "HTTP/1.1 301 Moved\r\nLocation: ?\r\nContent-Length: 0\r\n\r\n"])
    answer = post(proxy, {"url": f"http://127.0.0.1:{upstream.port}/s/{endless}/x"})
    assert (answer.status, "redirects" in answer.error["message"]) == (400, True)


BEGUN = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
BAD: list[tuple[str, list[Any], str]] = [
    ("no image", [reply("200 OK", b"<html>", Content_Type="image/png")], "neither png"),
    ("nothing", [["send", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]], "neither png"),
    ("missing", [["send", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]], "status 404"),
    ("cut", [["send", BEGUN + "\x89PNG"], ["close"]], "broke off"),
    ("cut chunks", [["send", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12"], ["close"]], "broke off"),
    ("compressed", [["send", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"]], "compressed"),
    ("no HTTP", [["send", "SSH-2.0\r\n\r\n"], ["close"]], "can't be reached"),
    ("closed", [["close"]], "can't be reached"),
    ("reset", [["rst"]], "can't be reached"),
    ("too long", [["send", f"HTTP/1.1 200 OK\r\nContent-Length: {60 * MIB}\r\n\r\n"], ["hold"]], "longer than"),
    ("silent", [["hold"]], "too long"),
    ("silent later", [["send", BEGUN + "\x89PNG"], ["hold"]], "too long"),
    ("drips a head", [["drip", "HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 900, 0.1]], "too long"),
    (
        "drips a body",
        [["send", BEGUN], ["drip", "x" * 900, 0.1]],
        "too long",
    ),
]


@pytest.mark.parametrize(("steps", "why"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_image_is_refused_by_its_place(proxy: Proxy, upstream: Upstream, steps: Any, why: str) -> None:
    answer = post(proxy, {"url": "data:,"}, {"url": at(upstream, *steps)})
    assert (answer.status, answer.error["param"]) == (400, "messages[0].content[2]")
    assert why in answer.error["message"]
    assert "127.0.0.1" not in answer.body.decode()
    assert proxy.line(answer.id)["ending"] == "refused"


@pytest.mark.parametrize(
    "shape", [5, None, {}, {"url": 5}, {"url": ""}, [], "ftp://a/x", {"url": "file:///etc/passwd"}, "x"]
)
def test_an_odd_shape_is_refused(proxy: Proxy, shape: Any) -> None:
    answer = post(proxy, shape)
    assert answer.status == 400
    assert answer.error["param"].startswith("messages[0].content[1]")


def test_a_failed_image_may_be_kept(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    keeping = serving(serve, upstream, "argo", IMAGE_ON_ERROR="keep")
    bad, good = at(upstream, ["close"]), served(upstream, picture(), tmp_path)
    assert post(keeping, {"url": bad}, {"url": good}, {"url": "ftp://a"}).status == 200
    kept, inlined, other = sent_urls(upstream)
    assert (kept, other) == (bad, "ftp://a")
    assert inlined.startswith("data:image/png;base64,")


#: Ways to name an address that is not public; PORT is that of a listener on the loopback.
HOSTILE = """
127.0.0.1:PORT 127.1:PORT 127.0.1:PORT 2130706433:PORT 0x7f000001:PORT 0x7f.1:PORT 0177.0.0.1:PORT 0177.1:PORT
017700000001:PORT 0x7F.0x0.0x0.0x1:PORT 127.0.0.2:PORT 127.255.255.254:PORT localhost:PORT LOCALHOST:PORT
localhost:0PORT 0.0.0.0:PORT 0:PORT 0x0:PORT 00:PORT [::1]:PORT [0:0:0:0:0:0:0:1]:PORT [::]:PORT
[::ffff:127.0.0.1]:PORT [::ffff:7f00:1]:PORT [0:0:0:0:0:ffff:127.0.0.1]:PORT [::127.0.0.1]:PORT
[64:ff9b::7f00:1]:PORT [2002:7f00:1::]:PORT [::ffff:0:127.0.0.1]:PORT me@127.0.0.1:PORT me:word@127.0.0.1:PORT
example.com@127.0.0.1:PORT @127.0.0.1:PORT \uff11\uff12\uff17.0.0.1:PORT \u2460\u2461\u2466.\u24ea.\u24ea.\u2460:PORT
127\u30020\u30020\u30021:PORT 127.0.0.1:PORT# 127.0.0.1:PORT?@example.com 127.0.0.1:PORT#@example.com/ 10.0.0.1
10.255.255.255:8080 172.16.0.1 172.31.255.254 192.168.0.1 192.168.1.1:8000 169.254.169.254 169.254.169.254:80
2852039166 0xa9fea9fe [::ffff:169.254.169.254] [fd00:ec2::254] 100.64.0.1 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1
203.0.113.1 224.0.0.1 239.1.2.3 240.0.0.1 255.255.255.255 [fe80::1] [fc00::1] [ff02::1] [2001:db8::1] [100::1]
[2001::1]
"""


class Listener:
    """Counts who connects, on all loopback addresses."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port = self._sock.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            self.count += 1
            sock.close()

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def test_the_table_is_long_enough() -> None:
    assert len(set(HOSTILE.split())) >= 50


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_hostile_addresses_are_never_asked(proxy: Proxy, upstream: Upstream, listener: Listener, hops: int) -> None:
    for scheme in ("http", "https"):
        for form in HOSTILE.split():
            url = f"{scheme}://{form.replace('PORT', str(listener.port))}/x.png"
            for _ in range(hops):
                url = redirect(upstream, ascii_of(url))
            answer = post(proxy, {"url": url})
            assert (answer.status, answer.error["param"]) == (400, "messages[0].content[1]"), form
            assert any(why in answer.error["message"] for why in ("not public", "credentials", "names no host")), form
    assert listener.count == 0


def ascii_of(url: str) -> str:
    """Give a URL as it can stand in a script's head, which is latin-1."""
    return url.encode().decode("latin-1")


def large(seed: int) -> bytes:
    """A JPEG of twelve megapixels and some mebibytes."""
    noise = Image.effect_noise((1000, 750), 60 + seed).resize((4000, 3000)).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "jpeg", quality=95)
    return out.getvalue()


@pytest.mark.slow
def test_eight_large_images_fit_two_megabytes(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    shrinking = serving(
        serve, upstream, "native", 60, ENABLE_PAYLOAD_CONTROL="true", MAX_PAYLOAD_SIZE="2", DEBUG="true"
    )
    urls = [served(upstream, large(seed), tmp_path, ["await"]) for seed in range(8)]
    whole = sum(len(file.read_bytes()) for file in tmp_path.iterdir())
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, shrinking, *({"url": url} for url in urls))
        for url in urls:
            eventually(lambda: upstream.seen(url.split("/")[4]))  # noqa: B023 side by side: none is served yet
        for url in urls:
            upstream.open(url.split("/")[4])
        answer = asked.result()
    assert answer.status == 200
    body = json.loads(upstream_body(upstream))
    sizes = [len(bytes_of(part["image_url"]["url"])) for part in body["messages"][0]["content"][1:]]
    assert sum(sizes) <= 2 * MIB
    assert min(sizes) > 100_000, "no smaller than needed"
    peak = shrinking.peak_kib() // 1024
    print(f"8 images, {whole // MIB} MiB; peak of the worker {peak} MiB")
    assert peak < 300
    assert "shrunk_to=" in shrinking.log()


def upstream_body(upstream: Upstream) -> bytes:
    seen = upstream.seen_at(PATH)[-1]
    body: str = seen["body"]
    return body.encode("latin-1")


def test_data_urls_count_too(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    shrinking = serving(serve, upstream, "argo", ENABLE_PAYLOAD_CONTROL="true", MAX_PAYLOAD_SIZE="0.1")
    data = picture("png", (300, 300))
    embedded = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert post(shrinking, {"url": embedded}, {"url": served(upstream, data, tmp_path)}, "data:,odd").status == 200
    urls = sent_urls(upstream)
    assert urls[2] == "data:,odd"
    assert [url.partition(";")[0] for url in urls[:2]] == ["data:image/jpeg"] * 2
    assert sum(len(bytes_of(url)) for url in urls[:2]) <= MIB // 10
    assert post(shrinking, {"url": served(upstream, picture(), tmp_path)}).status == 200
    assert bytes_of(sent_urls(upstream)[0]) == (tmp_path / "1.bin").read_bytes(), "what fits stays as it is"


def test_what_does_not_end_is_refused_in_flat_memory(serve: Serve, upstream: Upstream) -> None:
    fresh = serving(serve, upstream, "argo", THREADS="20")
    post(fresh, {"url": "data:,"})
    before = fresh.peak_kib()
    endless = at(upstream, ["send", "HTTP/1.1 200 OK\r\n\r\n"], ["fill", 120 * MIB])
    answer = post(fresh, {"url": endless})
    assert (answer.status, "longer than" in answer.error["message"]) == (400, True)
    assert fresh.peak_kib() - before < 120 * 1024


def test_all_images_of_a_request_are_bounded_too(proxy: Proxy, upstream: Upstream) -> None:
    half = at(upstream, ["send", f"HTTP/1.1 200 OK\r\nContent-Length: {45 * MIB}\r\n\r\n"], ["fill", 45 * MIB])
    answer = post(proxy, *({"url": f"{half}?{number}"} for number in range(3)))
    assert answer.status == 400


def test_others_are_served_meanwhile(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["await"], ["close"])
    slow = f"http://127.0.0.1:{upstream.port}/s/{script}/x.png"
    threads = [threading.Thread(target=lambda: post(proxy, {"url": slow})) for _ in range(5)]
    for thread in threads:
        thread.start()
    eventually(lambda: upstream.count(script) == 5)
    assert post(proxy, {"url": "data:,"}).status == 200
    upstream.open(script, 5)
    for thread in threads:
        thread.join()


def threads_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def test_a_client_that_leaves_lets_a_handshake_go(serve: Serve, upstream: Upstream) -> None:
    patient = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="me", IMAGE_ALLOW_PRIVATE="true", WORKERS="1")
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        (worker,) = eventually(patient.workers)
        chatting = threads_of(worker)
        with Client(patient.port) as client:
            client.send("POST", PATH, message(*({"url": f"{url}{number}"} for number in range(10))))
            eventually(lambda: threads_of(worker) >= chatting + 10)
        eventually(lambda: threads_of(worker) <= chatting + 3)


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_a_client_that_leaves_lets_the_images_go(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    patient = serve(
        ARGO_BASE_URL=f"{upstream.url}/argoapi",
        ARGO_USER="me",
        IMAGE_ALLOW_PRIVATE="true",
        WORKER_CLASS=worker_class,
    )
    url = at(upstream, ["hold"])
    with Client(patient.port) as client:
        client.send("POST", PATH, message({"url": url}))
        eventually(lambda: upstream.seen(url.split("/")[4]))
    assert upstream.left(url.split("/")[4])
    eventually(lambda: any(line["ending"] == "client_gone" for line in patient.lines()))


def refused_urls(count: int) -> bytes:
    return message(*({"url": f"http://10.{number // 250}.{number % 250}.1/"} for number in range(count)))


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_any_number_of_urls_is_answered(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serving(serve, upstream, "argo", THREADS="8", WORKER_CLASS=worker_class)
    (worker,) = eventually(door.workers)
    kept: list[tuple[int, int]] = []
    for counts in ((300,) * 4, (300, 500) * 5):
        for count in counts:
            answer = ask(door.port, "POST", PATH, refused_urls(count))
            assert (answer.status, answer.error["param"][:20]) == (400, "messages[0].content[")
        assert ask(door.port, "GET", "/health/live").status == 200
        eventually(lambda: not kept or (threads_of(worker) <= kept[0][0] + 8 and door.descriptors() <= kept[0][1] + 8))
        kept.append((threads_of(worker), door.descriptors()))


def test_more_urls_than_a_request_may_hold_are_refused(proxy: Proxy) -> None:
    answer = ask(proxy.port, "POST", PATH, refused_urls(1500))
    assert (answer.status, answer.error["param"]) == (400, "messages")
    assert "1500" in answer.error["message"]
    assert "500" in answer.error["message"]


def test_a_worker_ends_while_images_are_awaited(start: Serve, upstream: Upstream) -> None:
    door = serving(start, upstream, "argo", GRACEFUL_TIMEOUT="1")
    held = at(upstream, ["hold"])
    with Client(door.port) as client:
        client.send("POST", PATH, message(*({"url": f"{held}?{number}"} for number in range(10))))
        eventually(lambda: upstream.seen(held.split("/")[4]))
        assert door.stop() == 0


@cache
def red(side: int = 8000) -> bytes:
    """A small PNG of many pixels: 64 million."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(out, "png")
    return out.getvalue()


def embedded(data: bytes, count: int) -> bytes:
    """Ask for pictures that differ in a byte behind their end."""
    urls = [base64.b64encode(data + bytes([number])).decode() for number in range(count)]
    return message(*({"url": f"data:image/png;base64,{url}"} for url in urls))


#: Of a picture that takes long enough to be decoded, 36 megapixels.
SIDE = 6000


@pytest.mark.slow
@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_large_pictures_are_decoded_few_at_a_time_in_bounded_memory(
    serve: Serve, upstream: Upstream, worker_class: str
) -> None:
    settings = {"ENABLE_PAYLOAD_CONTROL": "true", "MAX_PAYLOAD_SIZE": "0.01", "WORKER_CLASS": worker_class}
    door = serving(serve, upstream, "argo", 5, **settings, **UNCOVERED)
    assert ask(door.port, "GET", "/health/live").status == 200, "now there is a worker"
    before = door.peak_kib()
    body = embedded(red(SIDE), 1)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(door.port, "POST", PATH, body).status)) for _ in "1234"
    ]
    for thread in threads:
        thread.start()
    served = 0
    while any(thread.is_alive() for thread in threads):
        assert ask(door.port, "GET", "/health/live").status == 200
        served += 1
        threads[0].join(0.05)
    assert answers == [200] * 4
    assert served > 2, "others are served meanwhile"
    assert door.peak_kib() - before < 14 * SIDE * SIDE // 1024


def test_too_many_pixels_are_refused_at_once(serve: Serve, upstream: Upstream) -> None:
    door = serving(serve, upstream, "argo", ENABLE_PAYLOAD_CONTROL="true", MAX_PAYLOAD_SIZE="0.01")
    answer = ask(door.port, "POST", PATH, embedded(red(), 12))
    assert (answer.status, answer.error["param"]) == (400, "messages")
    assert "256 megapixels" in answer.error["message"]


def test_a_client_that_leaves_while_pictures_are_decoded_is_seen(serve: Serve, upstream: Upstream) -> None:
    door = serving(serve, upstream, "argo", ENABLE_PAYLOAD_CONTROL="true", MAX_PAYLOAD_SIZE="0.01")
    body = embedded(red(), 3)
    with Client(door.port) as client:
        client.send("POST", PATH, body, X_Request_Id="leaves-while-decoding")
    eventually(lambda: any(line.get("ending") == "client_gone" for line in door.lines()))


def test_the_image_that_failed_is_named_wherever_it_stands(proxy: Proxy, upstream: Upstream, tmp_path: Path) -> None:
    good, bad = served(upstream, picture(), tmp_path), at(upstream, ["close"])
    urls = [{"url": f"{good}?{number}"} for number in range(30)]
    answer = post(proxy, *urls[:20], {"url": bad}, *urls[20:])
    assert (answer.status, answer.error["param"]) == (400, "messages[0].content[21]")


@pytest.fixture(scope="module")
def beside(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    """A proxy before servers that speak Messages and Responses themselves, with and without images in place of URLs."""
    folder = tmp_path_factory.mktemp("beside")
    kinds: dict[str, dict[str, Any]] = {
        "c": {"kind": "anthropic", "base_url": upstream.url, "api_key": "k"},
        "r": {"base_url": f"{upstream.url}/v1", "api_key": "k", "responses": "forward"},
    }
    upstreams = {
        f"{name}{inline}": {**kinds[name], "inline_images": bool(inline)} for name in kinds for inline in (0, 1)
    }
    models = {name: {"upstream": name} for name in upstreams}
    (folder / "config.yaml").write_text(json.dumps({"upstreams": upstreams, "models": models}))
    return serve(CONFIG_PATH=str(folder / "config.yaml"), IMAGE_ALLOW_PRIVATE=f"127.0.0.1:{upstream.port}")


BESIDE = {
    "c": (
        "/v1/messages",
        '{ "model":"%s", "max_tokens" : 1e1, "messages":[{"role":"user","content":[{"type":"image", "source": '
        '%s, "cache_control":{"type":"ephemeral"}} ,{"type":"text","text":"\\u00e9"}]}]}\n',
        '{"type":"url","url":"%s"}',
        '{"type":"base64","media_type":"image/png","data":"%s"}',
    ),
    "r": (
        "/v1/responses",
        '{ "model":"%s", "input":[{"role":"user","content":[{"type":"input_image", "image_url": %s, "detail":"low"} '
        ',{"type":"input_text","text":"\\u00e9"}]}], "odd" : 1e1}\n',
        '"%s"',
        '"data:image/png;base64,%s"',
    ),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("inline", [0, 1])
def test_an_image_of_a_request_that_is_handed_over(
    beside: Proxy, upstream: Upstream, tmp_path: Path, name: str, inline: int
) -> None:
    path, body, by_url, by_data = BESIDE[name]
    data, model = picture(), f"{name}{inline}"
    url = served(upstream, data, tmp_path)
    script = upstream.script(reply(body=b"{}", Content_Type="application/json"))
    asked = (body % (model, by_url % url)).encode()
    assert ask(beside.port, "POST", path, asked, X_Script=script).status == 200
    wanted = by_data % base64.b64encode(data).decode() if inline else by_url % url
    assert upstream.last(script)["body"] == body % (model, wanted)


@pytest.mark.parametrize(("name", "place"), [("c", "messages[0].content[0]"), ("r", "input[0].content[0]")])
def test_an_image_that_fails_is_named_where_the_client_put_it(
    beside: Proxy, upstream: Upstream, name: str, place: str
) -> None:
    path, body, by_url, _ = BESIDE[name]
    url = at(upstream, reply("404 No"))
    script = upstream.script(reply(body=b"{}", Content_Type="application/json"))
    answer = ask(beside.port, "POST", path, (body % (f"{name}1", by_url % url)).encode(), X_Script=script)
    assert (answer.status, upstream.count(script)) == (400, 0)
    assert place in json.dumps(answer.json["error"])
