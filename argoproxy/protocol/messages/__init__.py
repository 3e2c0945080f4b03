"""Anthropic's Messages API in front of chats: requests to chats, chunks to messages."""
