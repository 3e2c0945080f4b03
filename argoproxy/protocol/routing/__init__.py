"""From a model name to upstreams and parameters: calls, rules, routes."""
