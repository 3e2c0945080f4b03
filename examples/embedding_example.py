"""Embeddings of one text and of many: POST /v1/embeddings."""

import os

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:44497")

for given in ("What is a neutron source?", ["One text.", "Another one."]):
    response = requests.post(
        f"{BASE_URL}/v1/embeddings",
        json={"model": "argo:text-embedding-3-small", "input": given},
        timeout=600,
    )
    response.raise_for_status()
    for entry in response.json()["data"]:
        print(entry["index"], len(entry["embedding"]), entry["embedding"][:3])
