"""Flask and WSGI: routes, requests and responses, and the factory of the application."""
