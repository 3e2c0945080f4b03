"""The gateway's own words as they come, raw text: POST /v1/chat with "stream": true."""

import codecs
import os

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:44497")

with requests.post(
    f"{BASE_URL}/v1/chat",
    json={
        "model": "argo:gpt-4o",
        "messages": [{"role": "user", "content": "What is a neutron source?"}],
        "stream": True,
    },
    stream=True,
    timeout=600,
) as response:
    response.raise_for_status()
    decoder = codecs.getincrementaldecoder("utf-8")()
    for piece in response.iter_content(chunk_size=None):
        print(decoder.decode(piece), end="", flush=True)
print()
