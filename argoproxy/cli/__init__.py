"""The command line: the questions of a first start, checking and showing settings, and starting Gunicorn."""
