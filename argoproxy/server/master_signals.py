"""What Gunicorn's master does at a signal: reload the settings, or report that it will stop."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argoproxy.config.config import Config, build, settings_for_restart
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import SNAPSHOT_VARIABLE, publish_snapshot, read_layers
from argoproxy.plugins.loader import check_plugins
from argoproxy.server import runtime
from argoproxy.server.banner import log_warnings
from argoproxy.server.process import Terminal
from argoproxy.stores.postgres.start_keys import with_keys
from argoproxy.telemetry.journal.writer import check_journal


@dataclass(frozen=True, slots=True)
class MasterSignals:
    """Handles HUP and TERM in the master in place of Gunicorn.

    HUP reloads the settings; Gunicorn's own handler stops the master when they are broken. TERM reports draining on
    /health before the listening sockets close, which is what Gunicorn begins with: load balancers need that time.

    `config` holds the settings of the start, `folder` is the one in which they are looked for.
    """

    server: Any
    config: Config
    folder: Path
    terminal: Terminal

    def install(self) -> None:
        """Handle the signals from now on, and let this process be found by its port."""
        if SNAPSHOT_VARIABLE in os.environ:
            runtime.publish_port(_shared_folder(), self.config.server.port)
            signal.signal(signal.SIGTERM, lambda number, frame: self._drain(number))
        signal.signal(signal.SIGHUP, lambda *_: self._hang_up())

    def _hang_up(self) -> None:
        """Stop if the terminal is gone from which the proxy was started; otherwise reload the settings."""
        if self.terminal.is_gone():
            self.terminal.discard_output()
            self.server.signal(signal.SIGTERM, None)
        else:
            self._reload()

    def _drain(self, number: int) -> None:
        """Report draining on /health, and stop when the delay is over; at the second signal at once."""
        shared = _shared_folder()
        delay_s = 0.0 if runtime.is_draining(shared) else self.config.server.drain_delay
        runtime.mark_draining(shared)
        if not delay_s:
            self.server.signal(number, None)
            return
        self.server.log.info("Stopping in %s seconds; /health reports it", delay_s)
        timer = threading.Timer(delay_s, self.server.signal, (number, None))
        timer.daemon = True
        timer.start()

    def _reload(self) -> None:
        """Read the settings again and publish them to the workers; broken ones change nothing."""
        log = self.server.log
        if SNAPSHOT_VARIABLE not in os.environ:
            log.warning("code=reload_failed: there is no folder to publish the settings in (see the startup log)")
            return
        try:
            fresh = read_layers(os.environ, self.folder)
            config = build(fresh, os.environ, self.folder)
            check_plugins(config)
            check_journal(config)
            config = with_keys(config)
        except ConfigError as error:
            log.warning("code=reload_failed: the previous settings stay in use: %s", "; ".join(error.mistakes))
            return
        publish_snapshot(fresh, Path(os.environ[SNAPSHOT_VARIABLE]))
        log.info("code=settings_reloaded: in front of %s", config.description)
        log_warnings(config, log)
        changed = settings_for_restart(self.config, config)
        if changed:
            log.warning("code=restart_needed settings=%s: only a restart changes them", ",".join(changed))


def _shared_folder() -> Path:
    return Path(os.environ[SNAPSHOT_VARIABLE]).parent
