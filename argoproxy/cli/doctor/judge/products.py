"""Which model server answers, by what it says of itself, and what its flags are called."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from argoproxy.cli.doctor.judge.observations import HttpAnswer
from argoproxy.protocol.json_text import as_dicts, as_text


class Product(Enum):
    """A model server: its name, the `owned_by` of its models, and words of its errors and headers."""

    VLLM = ("vLLM", ("vllm",), ("--enable-auto-tool-choice",))
    LLAMA_CPP = ("llama.cpp", ("llamacpp",), ("--jinja", "llama.cpp"))
    SGLANG = ("SGLang", ("sglang",), ("sglang",))
    OLLAMA = ("Ollama", ("library",), ("ollama", "does not support tools"))
    LM_STUDIO = ("LM Studio", ("organization_owner",), ("lm studio", "lmstudio"))

    def __init__(self, title: str, owners: tuple[str, ...], words: tuple[str, ...]) -> None:
        self.title = title
        self.owners = owners
        self.words = words


#: What makes a server call tools.
_TOOL_FLAGS = {
    Product.VLLM: "vLLM: start it with --enable-auto-tool-choice --tool-call-parser NAME",
    Product.LLAMA_CPP: "llama.cpp: start llama-server with --jinja",
    Product.SGLANG: "SGLang: start it with --tool-call-parser NAME",
    Product.OLLAMA: "Ollama: use a model that its library tags with `tools`",
    Product.LM_STUDIO: "LM Studio: load a model that is marked for tool use",
}
_ANY_TOOLS = "start the server with its tool parser (--jinja in llama.cpp, --enable-auto-tool-choice in vLLM)"


def product_of(answers: Sequence[HttpAnswer], models: Sequence[str] = ()) -> Product | None:
    """Return the product that a list of models, a header or an error message shows; None if nothing does."""
    for answer in answers:
        entries = as_dicts((answer.document or {}).get("data"))
        owners = {as_text(entry.get("owned_by")).lower() for entry in entries}
        said = f"{answer.header('server')} {answer.message}".lower()
        for product in Product:
            if owners & set(product.owners) or any(word in said for word in product.words):
                return product
    return None


def tools_hint(product: Product | None, message: str) -> str:
    """Return how a server is made to call tools."""
    named = product or next((one for one in Product if any(word in message.lower() for word in one.words)), None)
    return _TOOL_FLAGS[named] if named else _ANY_TOOLS
