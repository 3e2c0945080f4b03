"""A chat: POST /v1/chat/completions."""

import os

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:44497")

response = requests.post(
    f"{BASE_URL}/v1/chat/completions",
    json={
        "model": "argo:gpt-4o",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is a neutron source?"},
        ],
        "temperature": 0.2,
        "max_tokens": 200,
    },
    timeout=600,
)
response.raise_for_status()
answer = response.json()
print(answer["choices"][0]["message"]["content"])
print(answer["usage"])
