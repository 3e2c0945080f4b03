"""An OpenAI-compatible proxy in front of any LLM endpoint."""

__version__ = "0.3.0"
