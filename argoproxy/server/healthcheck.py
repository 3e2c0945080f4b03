"""The health check of the image: `python -m argoproxy.server.healthcheck` ends with 0 when the proxy in it serves."""

from __future__ import annotations

import http.client
import os
import sys

WITHIN_S = 4.0


def is_live(port: int) -> bool:
    """Ask /health/live on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_live(int(os.environ.get("PORT") or 5000)) else 1)
