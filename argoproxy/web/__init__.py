"""The Flask application: routes, requests and responses, and the code that puts the proxy together."""
