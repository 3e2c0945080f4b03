"""Gunicorn's workers, in which a client that is slow to send holds up no other one.

They extend Gunicorn's classes, most of whose methods and attributes are documented nowhere. These are relied on, and
`tests/transport/test_private_names.py` fails when an upgrade changes them:

- `ThreadWorker`: `init_process`, `accept`, `enqueue_req`, `handle`, `handle_request`, `murder_keepalived`,
  `murder_pending`, `set_accept_enabled`, `notify` and `_cap_keepalive` are overridden or called; `poller`, `sockets`,
  `method_queue`, `nr_conns` and `worker_connections` are used.
- `TConn`: `init`, `initialized`, `data_ready`, `parser`; of the parser `mesg`, `unreader.unread` and
  `unreader.take_buffered`.
- For plain requests, `ThreadWorker.handle_request` and `AsyncWorker.handle` are done anew, with a `Request`,
  `RequestParser` and `Response` of our own and the environ of `wsgi.create`: what these hold and do is compared with
  Gunicorn's for many requests and answers in `tests/workers/test_plain_request.py`. `keepalived_conns`,
  `max_keepalived`, `nr`, `max_requests` and `alive` are used.
- `SyncWorker` and `AsyncWorker`: `handle`, `wait` and `timeout_ctx` are overridden.
- Bodies of requests: `reader.length` and `reader.parser`, to tell whether all was read.
"""
