"""Upstreams over HTTP: requests, urllib3 and http.client, in which every wait is done by `watch.py`.

The hooks are documented ones where there are any. Besides, these names are used that the libraries may change in any
release; `tests/transport/test_private_names.py` fails then and says what to check:

- urllib3: `HTTPConnection._new_conn` is overridden, to connect while the client is watched; `_tunnel`, to reset the
  socket's time-out after it; `_dns_host` is read, the host without the brackets of an IPv6 address. `PoolManager`'s
  `pool_classes_by_scheme` and `connection_pool_kw`, `HTTPConnectionPool.ConnectionCls` and
  `HTTPConnection.is_connected` choose the classes of connections and which one is used again. A BrokenPipeError in
  `send` must lead to `getresponse`.
- http.client: `HTTPConnection.response_class` and `HTTPResponse.begin` are overridden; `begin` reads lines from
  `sock.makefile("rb")` and sets `status`, `headers`, `length` and `will_close`. `email.message.Message.raw_items` is
  read.
- ssl: `SSLSocket.suppress_ragged_eofs` is set, `do_handshake` overridden.
- requests: `HTTPAdapter.get_connection_with_tls_context`, `cert_verify`, `build_response`, `init_poolmanager` and
  `proxy_manager_for` are overridden, as its documentation allows.

Rejected: httpcore with a network backend, which would need none of these names. Its parser h11 is written in Python,
and likely costs more CPU for each event of a stream.
"""
