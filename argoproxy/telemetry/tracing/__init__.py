"""Tracing: what became of a request and of each attempt, as spans for an OpenTelemetry collector."""
