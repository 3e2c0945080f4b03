"""The gateway's own words, passed on as they are: POST /v1/chat."""

import os

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:44497")

response = requests.post(
    f"{BASE_URL}/v1/chat",
    json={
        "model": "argo:gpt-4o",
        "system": "You are a helpful assistant.",
        "prompt": ["What is a neutron source?"],
        "stop": [],
        "temperature": 0.1,
        "top_p": 0.9,
    },
    timeout=600,
)
response.raise_for_status()
print(response.json()["response"])
