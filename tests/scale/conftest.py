from __future__ import annotations

import os

#: Tests with engines beside the proxy are no part of a plain run.
collect_ignore_glob = [] if os.environ.get("SCALE") else ["test_*"]
