"""A chat with o1-preview, which takes no system message: the proxy makes it the user's."""

import os

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:44497")

response = requests.post(
    f"{BASE_URL}/v1/chat/completions",
    json={
        "model": "argo:gpt-o1-preview",
        "messages": [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": "Why is the sky blue?"},
        ],
        "max_completion_tokens": 1000,
    },
    timeout=600,
)
response.raise_for_status()
print(response.json()["choices"][0]["message"]["content"])
