"""Limits on requests, tokens and money, pure: what is limited, who is refused, what a request is charged."""
