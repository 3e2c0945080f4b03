"""From the settings to what tells of requests: the log, and traces."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import certifi

from argoproxy import __version__
from argoproxy.config.config import Config
from argoproxy.protocol.access.masking import Masker
from argoproxy.telemetry.journal.writer import JournalFiles, JournalHandler
from argoproxy.telemetry.json_lines import JsonAccessLog, JsonFormatter
from argoproxy.telemetry.log_lines import AccessLog, PrintableFormatter
from argoproxy.telemetry.metrics import Metrics
from argoproxy.telemetry.outcome import Listener
from argoproxy.telemetry.tracing.exporter import SpanExporter
from argoproxy.telemetry.tracing.tracer import Tracer

logger = logging.getLogger("argoproxy")

LOG_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"


def build_access_log(config: Config, journal: JournalFiles | None) -> Iterator[Listener]:
    """Yield the listeners that write a line for each request: to standard error, and to the journal, as text always."""
    if not config.log.requests:
        return
    writes = [(lambda line: journal.log(line.decode()))] if journal else []
    to_stderr = partial(os.write, sys.stderr.fileno())
    if not config.log.is_json:
        yield AccessLog(to_stderr, *writes)
        return
    yield JsonAccessLog(to_stderr)
    if writes:
        yield AccessLog(*writes)


def configure_logging(config: Config, journal: JournalFiles | None, masker: Masker) -> None:
    """Log what is no request in the same form, to the same places."""
    text = PrintableFormatter(LOG_FORMAT, TIME_FORMAT, masker)
    to_stderr = logging.StreamHandler(sys.stderr)
    to_stderr.setFormatter(JsonFormatter(masker) if config.log.is_json else text)
    logger.handlers = [to_stderr]
    if journal:
        to_journal = JournalHandler(journal)
        to_journal.setFormatter(text)
        logger.handlers.append(to_journal)
    logger.propagate = False
    logger.setLevel(config.log.level.upper())


def build_tracer(config: Config, listeners: Sequence[Listener]) -> Tracer | None:
    """Return what makes traces, None if they are neither sent nor logged. Spans are counted by the Metrics among the
    listeners."""
    if not config.tracing.traces_url:
        return Tracer(None) if config.log.is_json else None
    counting = next((one for one in listeners if isinstance(one, Metrics)), None)
    exporter = SpanExporter(
        config.tracing.traces_url,
        config.tracing.headers,
        {"service.name": "argoproxy", "service.version": __version__, "host.name": os.uname().nodename},
        counting.count_spans if counting else count_nothing,
        config.ca_bundle or certifi.where(),
    )
    return Tracer(exporter, config.tracing.otlp_sample)


def count_nothing(_name: str, _count: int) -> None:
    """Nothing is counted in this worker."""
