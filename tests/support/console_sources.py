"""What the views of the console read, made of a config file."""

from __future__ import annotations

from pathlib import Path

from argoproxy.config.config import build
from argoproxy.config.values.layers import read_layers
from argoproxy.console.views.sources import Sources

UPSTREAMS = """
upstreams:
  vllm: {kind: openai, base_url: "http://one/v1", api_key: sk-0123456789abcdef}
  spare: {kind: openai, base_url: "http://two/v1"}
"""


def make_sources(folder: Path, text: str = "", shared: Path | None = None, **environ: str) -> Sources:
    """Return the sources of two upstreams and more lines of a config file."""
    (folder / "config.yaml").write_text(UPSTREAMS + text)
    layers = read_layers(environ, folder)
    return Sources(build(layers, environ, folder), layers, environ, folder, shared)
