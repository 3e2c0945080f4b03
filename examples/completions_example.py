"""A legacy completion: POST /v1/completions. A list of prompts goes up as the list it is and gives one answer."""

import os

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:44497")

response = requests.post(
    f"{BASE_URL}/v1/completions",
    json={"model": "argo:gpt-4o", "prompt": ["Tell me of Fermi.", "One sentence."], "max_tokens": 100},
    timeout=600,
)
response.raise_for_status()
print(response.json()["choices"][0]["text"])
