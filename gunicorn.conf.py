"""Settings for `gunicorn -c gunicorn.conf.py cot_proxy:app`: those of argoproxy/server/gunicorn_config.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.modules.pop("argoproxy.server.gunicorn_config", None)

from argoproxy.server.gunicorn_config import *
