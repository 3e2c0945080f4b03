"""OpenAI's Responses API, converted to chat completions and back. Pure."""
