"""The connection to upstreams: requests, urllib3 and http.client, with every wait done by us."""
