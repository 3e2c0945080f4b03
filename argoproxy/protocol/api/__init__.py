"""OpenAI's API as clients know it: endpoints, schema of requests, errors, CORS."""
