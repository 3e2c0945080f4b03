"""A chat that is streamed: POST /v1/chat/completions with "stream": true."""

import json
import os

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:44497")

with requests.post(
    f"{BASE_URL}/v1/chat/completions",
    json={
        "model": "argo:gpt-4o",
        "messages": [{"role": "user", "content": "What is a neutron source?"}],
        "stream": True,
    },
    stream=True,
    timeout=600,
) as response:
    response.raise_for_status()
    for line in response.iter_lines():
        data = line.removeprefix(b"data: ")
        if data in (line, b"[DONE]"):
            continue
        chunk = json.loads(data)
        if "error" in chunk:
            raise SystemExit(chunk["error"]["message"])
        for choice in chunk["choices"]:
            print(choice["delta"].get("content") or "", end="", flush=True)
print()
