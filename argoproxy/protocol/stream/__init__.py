"""Server-sent events, chunks, and the filters over them."""
