"""The floor: a bare Gunicorn, Flask, and an adapter of requests that sends, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator

import requests
from flask import Flask, Response, request
from requests.structures import CaseInsensitiveDict

app = Flask("floor")
adapter = requests.Session().get_adapter("http://")
adapter.__init__(pool_connections=1, pool_maxsize=256)  # type: ignore[misc]
KEPT = ("Content-Type", "Content-Length")


@app.post("/v1/chat/completions")
def forward() -> Response:
    """Send the request's body to the upstream, and the reply's as it comes."""
    sent = requests.PreparedRequest()
    sent.method, sent.url, sent.body = "POST", f"{os.environ['UPSTREAM']}/v1/chat/completions", request.get_data()
    sent.headers = CaseInsensitiveDict({"Content-Type": "application/json", "Content-Length": str(len(sent.body))})
    reply = adapter.send(sent, stream=True)
    headers = [(name, reply.headers[name]) for name in KEPT if name in reply.headers]
    return Response(pieces(reply), reply.status_code, headers, direct_passthrough=True)


def pieces(reply: requests.Response) -> Iterator[bytes]:
    """Yield what has arrived, then give the connection back."""
    while data := reply.raw.read1(65536):
        yield data
    reply.close()
