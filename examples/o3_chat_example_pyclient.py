"""A chat with o3-mini through OpenAI's own client: pip install openai."""

import os

from openai import OpenAI

BASE_URL = os.environ.get("BASE_URL", "http://localhost:44497")

with OpenAI(base_url=f"{BASE_URL}/v1", api_key="whatever") as client:
    response = client.chat.completions.create(
        model="argo:gpt-o3-mini",
        messages=[
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": "Why is the sky blue?"},
        ],
        max_tokens=1000,
    )
    print(response.choices[0].message.content)
