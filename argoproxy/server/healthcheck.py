"""The health check of the container image: `python -m argoproxy.server.healthcheck` exits with 0 when the proxy
serves."""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_S = 4.0


def is_live(port: int) -> bool:
    """Return whether /health/live answers with 200 on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_live(int(os.environ.get("PORT") or 5000)) else 1)
