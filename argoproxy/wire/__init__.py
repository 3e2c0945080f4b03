"""The upstream leg: the stock requests, urllib3 and http.client, with every wait done by us.

Only public hooks are used: an HTTPAdapter with pools of our own (`sending`), connections whose `response_class` is
ours (`receiving`), and one place that waits for upstream, client and clock (`waiting`).

An error raised while waiting is a plain exception (ClientGone, ProxyError): urllib3 swallows some OSErrors and
wraps others, but lets these through and closes the connection.
"""
