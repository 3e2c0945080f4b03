"""Upstreams over HTTP: an adapter for the Session of requests, in which every wait is done by `watch.py`.

urllib3 and http.client are not used for it: they wait where the client is not watched, and cost a plain request more
than half of the time that is spent here. What is taken from urllib3 is the TLS context of requests
(`create_urllib3_context`) and TLS within TLS (`SSLTransport`, whose `sslobj` and `socket` are read; checked by
`tests/transport/test_private_names.py`).
"""
