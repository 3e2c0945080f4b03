"""A request's way from its handler to its upstream and back."""
