"""The running server: Gunicorn's settings, ports, signals, health checks."""
