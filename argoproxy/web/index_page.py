"""What `GET /` says: a document for programs, a page for browsers."""

from __future__ import annotations

from argoproxy import __version__

ABOUT = {
    "name": "argoproxy",
    "message": "argoproxy is running. Its OpenAI-compatible API is at /v1.",
    "version": __version__,
    "about": "An OpenAI-compatible proxy in front of any LLM endpoint.",
    "api": "/v1",
    "health": "/health",
    "documentation": {
        "proxy": "README.md and docs/, beside the program",
        "api": "https://platform.openai.com/docs/api-reference",
    },
    "metrics": "/metrics",
}
PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>argoproxy</title>
<h1>argoproxy is running</h1>
<p>Version {__version__}, an OpenAI-compatible proxy in front of any LLM endpoint.</p>
<p>Base URL for clients: the address of this page, followed by <code>v1</code>.</p>
<ul>
<li><a href="v1/models">v1/models</a>: the models that can be asked for (with a key, where keys are asked for)</li>
<li><a href="health">health</a>: whether the endpoint can be reached</li>
<li><a href="metrics">metrics</a>: counts for Prometheus</li>
<li><a href="https://platform.openai.com/docs/api-reference">the API</a>; the proxy's own documentation is README.md and
docs/, beside the program</li>
</ul>
</html>
"""
#: Nothing is loaded or run, and no other site frames the page.
PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Vary", "Accept"),
)
