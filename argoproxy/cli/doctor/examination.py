"""The command `doctor`: observe, judge, show."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from argoproxy import __version__
from argoproxy.cli.doctor.judge.findings import HERE, Finding, run_checks
from argoproxy.cli.doctor.judge.host_verdicts import HOST_CHECKS
from argoproxy.cli.doctor.judge.observations import HostFacts, ProxyFacts, UpstreamFacts
from argoproxy.cli.doctor.judge.proxy_verdicts import PROXY_CHECKS, RUNNING
from argoproxy.cli.doctor.judge.surface_verdicts import UPSTREAM_CHECKS
from argoproxy.cli.doctor.observe.host_probe import observe_host
from argoproxy.cli.doctor.observe.places import Places
from argoproxy.cli.doctor.observe.proxy_probe import ProxyProbe
from argoproxy.cli.doctor.observe.sender import PATIENCE_S
from argoproxy.cli.doctor.observe.upstream_probe import UpstreamProbe, Wish
from argoproxy.cli.doctor.report import Report, lines_of, show_json
from argoproxy.config.config import Config, build
from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.config.options.parsers import parse_seconds
from argoproxy.config.values.config_error import USAGE_EXIT, ConfigError
from argoproxy.config.values.flags import SettingFlags, make_parser, take_settings
from argoproxy.config.values.layers import Layer, read_layers
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.access.printable import printable
from argoproxy.server.banner import own_url
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.web.upstream_factory import collect_secrets, models_of

ABOUT = """Find what keeps the proxy from working, and the setting to change. It looks at the settings, this machine,
each upstream and the running proxy."""
COSTS = """It sends three short chats to each upstream: one whole, one as a stream, one with a function, at most 616
tokens of answers together; --through sends one more, through the running proxy. --no-chat sends none; everything else
costs nothing. It exits with 0 if nothing has failed, 1 if something has, 2 for a mistake on the command line. Every
code is explained in docs/doctor.md."""
#: Hosts on this machine, which an HTTP proxy seldom reaches.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class UnknownUpstream(Exception):
    """No upstream has the name on the command line; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line: the upstream to look at and the model to ask ("": all, and one that is picked), whether chats
    are asked and how long one may take, and the URL of the proxy to ask through; None: not asked for, "": that of the
    settings."""

    upstream: str
    model: str
    asks_chat: bool
    as_json: bool
    is_strict: bool
    through: str | None
    patience_s: float


def main(arguments: Sequence[str], environ: Mapping[str, str], folder: Path, program: str = "argoproxy doctor") -> int:
    """Run the command, with the settings that a start with these arguments would have. Returns the exit status."""
    options, settings = parse(arguments, program)
    sys.stderr.writelines(f"warning: {printable(warning)}\n" for warning in settings.warnings)
    try:
        report = examine(options, settings.environment(environ, folder), folder)
    except UnknownUpstream as error:
        sys.stderr.write(f"{program}: {printable(str(error))}\n")
        return USAGE_EXIT
    encoding = sys.stdout.encoding or "utf-8"
    text = show_json(report) if options.as_json else "\n".join(lines_of(report))
    try:
        # A terminal may lack a character.
        sys.stdout.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` for instance, has closed the pipe. Python would report it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(report.has_failed or (options.is_strict and report.has_warned))


def parse(arguments: Sequence[str], program: str) -> tuple[Options, SettingFlags]:
    """Parse the command line. Raises SystemExit for --help and invalid arguments."""
    parser = make_parser(program, ABOUT, COSTS)
    add = parser.add_argument
    add("--upstream", default="", metavar="NAME", help="look at this upstream only")
    add("--model", default="", metavar="NAME", help="the model to ask; if not named, one is picked")
    add("--no-chat", dest="asks_chat", action="store_false", help="ask no model")
    add("--json", dest="as_json", action="store_true", help="print JSON, for a bug report; secrets are starred")
    add("--strict", dest="is_strict", action="store_true", help="exit with 1 for warnings too")
    add(
        "--through",
        nargs="?",
        type=_proxy_url,
        const="",
        metavar="URL",
        help="also ask through the running proxy, at the address of the settings or at this one",
    )
    add(
        "--patience",
        dest="patience_s",
        type=_seconds,
        default=PATIENCE_S,
        metavar="SECONDS",
        help=f"how long a chat may take ({PATIENCE_S:g})",
    )
    options = vars(parser.parse_args(arguments))
    settings = take_settings(options)
    return Options(**options), settings


def _proxy_url(text: str) -> str:
    try:
        return text and BaseUrl.parse(text).root
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def examine(options: Options, environ: Mapping[str, str], folder: Path) -> Report:
    """Observe and judge. Raises UnknownUpstream."""
    begun = time.monotonic()
    try:
        layers = read_layers(environ, folder)
        config = build(layers, environ, folder)
        return Examination(options, config, layers).run(begun)
    except ConfigError as error:
        findings = list(run_checks(HOST_CHECKS, HostFacts(mistakes=error.mistakes), HERE))
        return _make_report(findings, {}, begun, 0)


class Examination:
    """One run over settings that can be used."""

    def __init__(self, options: Options, config: Config, layers: Sequence[Layer]) -> None:
        self._options, self._config, self._layers = options, config, layers
        masker = Masker(collect_secrets(config))
        self._mask: Callable[[str], str] = lambda text: masker.mask_text((), text)

    def run(self, begun: float) -> Report:
        """Return the report. Raises UnknownUpstream, and ConfigError for plug-ins that can't be used."""
        upstreams = [self._observe_upstream(settings) for settings in self._choose_upstreams()]
        proxy = self._observe_proxy(upstreams)
        host = self._observe_host(upstreams)
        chats_sent = sum(facts.chats_sent for facts in upstreams) + (proxy.chats_sent if proxy else 0)
        findings = [self._star_finding(finding) for finding in judge(host, upstreams, proxy)]
        titles = {facts.name: facts.url for facts in upstreams}
        return _make_report(findings, {name: self._mask(text) for name, text in titles.items()}, begun, chats_sent)

    def _choose_upstreams(self) -> Sequence[UpstreamSettings]:
        name, upstreams = self._options.upstream, self._config.upstreams
        if not name:
            return upstreams
        chosen = [settings for settings in upstreams if settings.name == name]
        if not chosen:
            names = ", ".join(settings.name for settings in upstreams)
            raise UnknownUpstream(f"there is no upstream {name!r}; there is {names}")
        return chosen

    def _observe_proxy(self, upstreams: Sequence[UpstreamFacts]) -> ProxyFacts | None:
        """Return what is seen of the running proxy; None if it listens at a Unix socket and no URL is named."""
        through = self._options.through
        url = through or own_url(self._config)
        if not url:
            return None
        asked = url if through is not None else ""
        with closing(ProxyProbe(self._config, asked, self._mask, self._options.patience_s)) as probe:
            facts = probe.observe(self._layers)
            if not self._options.asks_chat:
                return facts
            return probe.observe_chat(facts, self._options.model or upstreams[0].model, upstreams[0].stream)

    def _observe_upstream(self, settings: UpstreamSettings) -> UpstreamFacts:
        serves = not self._options.model or self._options.upstream or self._serves(settings)
        options = self._options
        wish = Wish(options.asks_chat, options.model if serves else "", show_progress, options.patience_s)
        with closing(UpstreamProbe(settings, self._config, self._mask, wish)) as probe:
            return probe.observe(Places(self._layers))

    def _serves(self, settings: UpstreamSettings) -> bool:
        models = models_of(self._config)
        names = [provider.upstream.name for provider in models.plan_for(self._options.model, "").providers]
        return settings.name in names

    def _observe_host(self, upstreams: Sequence[UpstreamFacts]) -> HostFacts:
        proxied = {facts.name: hop for facts in upstreams if (hop := _hop_from_here(facts))}
        facts = observe_host(self._config, self._layers, proxied)
        return replace(facts, skews_s={one.name: skew_s for one in upstreams if (skew_s := _skew_of(one)) is not None})

    def _star_finding(self, finding: Finding) -> Finding:
        """Return a finding with every secret of the settings starred."""
        evidence = {name: self._star(value) for name, value in finding.evidence.items()}
        return replace(finding, text=self._mask(finding.text), fix=self._mask(finding.fix), evidence=evidence)

    def _star(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._mask(value)
        if isinstance(value, Mapping):
            return {name: self._star(part) for name, part in value.items()}
        return [self._star(part) for part in value] if isinstance(value, list | tuple) else value


def show_progress(text: str) -> None:
    """Tell a user at a terminal what is waited for."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{printable(text)}\n")


def judge(host: HostFacts, upstreams: Sequence[UpstreamFacts], proxy: ProxyFacts | None) -> Iterator[Finding]:
    """Yield all findings, in the order of the checks."""
    yield from run_checks(HOST_CHECKS, host, HERE)
    for facts in upstreams:
        yield from run_checks(UPSTREAM_CHECKS, facts, facts.name)
    if proxy:
        is_there = proxy.is_asked or (proxy.live is not None and not proxy.live.failure)
        yield from run_checks(PROXY_CHECKS if is_there else PROXY_CHECKS[:1], proxy, RUNNING)


def _make_report(findings: Sequence[Finding], titles: dict[str, str], begun: float, chats_sent: int) -> Report:
    system = f"{platform.system()}, Python {platform.python_version()}"
    return Report(findings, titles, system, __version__, round(1000 * (time.monotonic() - begun)), chats_sent)


def _skew_of(facts: UpstreamFacts) -> float | None:
    """Return by how much the clock of an upstream's server is ahead, None if it did not say."""
    unverified = [network.tls.answer for network in facts.network if network.tls]
    skews = (answer.skew_s for answer in (*facts.answers, *unverified))
    return next((skew_s for skew_s in skews if skew_s is not None), None)


def _hop_from_here(facts: UpstreamFacts) -> str:
    """Return the HTTP proxy to an upstream that is on this machine, "" if there is none."""
    on_this_machine = any(f"//{host}" in facts.url for host in LOOPBACK)
    return next((network.hop for network in facts.network if network.hop), "") if on_this_machine else ""
