"""How much a run of the tests tries: by the part of ./run_tests.sh that it is."""

from __future__ import annotations

import os

#: `quick`, `plain`, or nothing: then everything.
_RUN = os.environ.get("RUN", "")
IS_QUICK = _RUN == "quick"
#: How many examples a property is tried with.
ALL_EXAMPLES = 100
EXAMPLES = {"quick": 25, "plain": 40}.get(_RUN, ALL_EXAMPLES)
