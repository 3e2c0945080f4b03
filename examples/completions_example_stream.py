"""A legacy completion that is streamed: POST /v1/completions with "stream": true."""

import json
import os

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:44497")

with requests.post(
    f"{BASE_URL}/v1/completions",
    json={"model": "argo:gpt-4o", "prompt": "Tell me of Fermi.", "stream": True},
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
            print(choice["text"], end="", flush=True)
print()
