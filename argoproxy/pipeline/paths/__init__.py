"""The handlers of paths that are no chats."""
