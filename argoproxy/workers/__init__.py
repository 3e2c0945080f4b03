"""Gunicorn's workers as this proxy runs them: a client that is slow to send never holds a thread."""
