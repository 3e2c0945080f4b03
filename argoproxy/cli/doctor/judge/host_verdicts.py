"""Verdicts over this machine: settings, port, limits, exposure, clock."""

from __future__ import annotations

import math
from collections.abc import Sequence

from argoproxy.cli.doctor.judge.findings import Check, Finding, Status, pass_check
from argoproxy.cli.doctor.judge.observations import HostFacts

#: A clock that is wrong by more breaks signatures and certificates.
MOST_SKEW_S = 60.0
#: What a stop takes besides waiting for requests.
EXIT_S = 5.0


def judge_settings(facts: HostFacts) -> Finding:
    """Say whether the settings can be used."""
    if facts.mistakes:
        first, more = facts.mistakes[0], len(facts.mistakes) - 1
        text = f"the settings can't be used: {first}" + (f" (and {more} more)" if more else "")
        fix = "correct what each line names"
        return Finding("config.read", Status.FAIL, text, fix, {"mistakes": list(facts.mistakes)}, blocks=True)
    return pass_check("config.read", "no mistakes")


def judge_origin(facts: HostFacts) -> Finding:
    """Say where the settings come from, and which upstreams follow."""
    sources = ", ".join(facts.sources) or "defaults only"
    return pass_check("config.origin", f"{sources}; in front of {facts.upstreams}", sources=list(facts.sources))


def judge_warnings(facts: HostFacts) -> Finding | None:
    """Report what the start warns of."""
    if not facts.warnings:
        return None
    text = facts.warnings[0] + (f" (and {len(facts.warnings) - 1} more)" if facts.warnings[1:] else "")
    evidence = {"warnings": list(facts.warnings)}
    return Finding("config.warnings", Status.WARN, text, "remove or correct what it names", evidence)


def judge_proxies(facts: HostFacts) -> Finding | None:
    """Report upstreams on this machine that are reached through an HTTP proxy, which seldom finds them."""
    if not facts.proxied:
        return None
    name, hop = next(iter(facts.proxied.items()))
    text = f"the upstream {name} is on this machine, but is reached through the HTTP proxy {hop}"
    fix = "NO_PROXY=localhost,127.0.0.1,::1"
    return Finding("env.proxies", Status.WARN, text, fix, {"proxied": dict(facts.proxied)})


def judge_port(facts: HostFacts) -> Finding:
    """Say who has the port."""
    where = f"{facts.host}:{facts.port}" if facts.port else facts.host
    if facts.own_pid:
        return pass_check("port.free", f"{where} is served by this user's proxy (process {facts.own_pid})")
    if facts.holder:
        problem, _, hint = facts.holder.partition("; ")
        fix = hint or "choose another HOST or PORT"
        return Finding("port.free", Status.FAIL, problem, fix, {"host": facts.host, "port": facts.port})
    return pass_check("port.free", f"{where} is free")


def judge_exposure(facts: HostFacts) -> Finding:
    """Warn if anyone on the network can use the proxy."""
    if not facts.is_open:
        return pass_check("exposed", "other machines can't use the proxy without a key")
    keys = f", and the API key of {', '.join(facts.keyed)}" if facts.keyed else ""
    text = f"{facts.host}:{facts.port} without keys: anyone on this network can use the proxy{keys}"
    fix = "HOST=127.0.0.1 serves this machine only, ENABLE_AUTH=true requires keys"
    return Finding("exposed", Status.WARN, text, fix, {"host": facts.host, "upstreams_with_keys": list(facts.keyed)})


def judge_files(facts: HostFacts) -> Finding:
    """Compare the limit of open files with what the threads of a worker may need."""
    evidence = {"limit": facts.files, "wanted": facts.files_wanted}
    if facts.files < facts.files_wanted:
        text = f"a process may open {facts.files} files; THREADS wants {facts.files_wanted}"
        fix = f"ulimit -Hn {facts.files_wanted} (LimitNOFILE of systemd, --ulimit nofile of Docker), or fewer THREADS"
        return Finding("limit.files", Status.WARN, text, fix, evidence)
    return pass_check("limit.files", f"{facts.files} open files", **evidence)


def judge_memory(facts: HostFacts) -> Finding | None:
    """Compare the memory that is left with what idle workers take."""
    if facts.memory_mib is None:
        return None
    evidence = {"free_mib": round(facts.memory_mib), "wanted_mib": round(facts.memory_wanted_mib)}
    if facts.memory_mib < facts.memory_wanted_mib:
        text = f"{facts.memory_mib:.0f} MiB of memory are free; idle workers take some {facts.memory_wanted_mib:.0f}"
        return Finding("limit.memory", Status.WARN, text, "WORKERS: fewer processes, or more memory", evidence)
    return pass_check("limit.memory", f"{facts.memory_mib:.0f} MiB of memory free", **evidence)


def judge_shared_memory(facts: HostFacts) -> Finding | None:
    """Compare the room for counts, which processes share in memory."""
    if facts.shared_mib is None or facts.shared_mib >= 32:
        return None
    text = f"/dev/shm has {facts.shared_mib:.0f} MiB left; metrics want 32"
    return Finding("shm.room", Status.WARN, text, "--shm-size=64m (Docker), or free some", {"mib": facts.shared_mib})


def judge_journal(facts: HostFacts) -> Finding | None:
    """Say whether the journal can be written, and has room."""
    if not facts.journal:
        return None
    if facts.journal_problem:
        fix = "make the folder writable, or change OUTPUT_PATH"
        return Finding("journal.room", Status.FAIL, facts.journal_problem, fix, {"folder": facts.journal})
    evidence = {"folder": facts.journal, "free_mib": facts.journal_mib, "wanted_mib": facts.journal_wanted_mib}
    if facts.journal_mib is not None and facts.journal_mib < facts.journal_wanted_mib:
        text = f"the journal's disk has {facts.journal_mib:.0f} MiB left; it may grow to {facts.journal_wanted_mib:.0f}"
        return Finding("journal.room", Status.WARN, text, "JOURNAL_MAX_BYTES or JOURNAL_FILES: smaller", evidence)
    return pass_check("journal.room", f"the journal in {facts.journal} can be written", **evidence)


def judge_stop(facts: HostFacts) -> Finding:
    """Tell how long a stop may take, which another program has to wait for. Kubernetes needs a delay: it still sends
    requests for a moment after it has asked a process to stop."""
    needed = math.ceil(facts.drain_s + facts.graceful_s + EXIT_S)
    evidence = {"needed_s": needed, "drain_delay_s": facts.drain_s, "graceful_timeout_s": facts.graceful_s}
    if facts.is_in_kubernetes and not facts.drain_s:
        text = "DRAIN_DELAY is 0: Kubernetes still sends requests for a moment after it has asked a pod to stop"
        return Finding("stop.grace", Status.WARN, text, "DRAIN_DELAY=10", evidence)
    waited = f"DRAIN_DELAY {facts.drain_s:g} and GRACEFUL_TIMEOUT {facts.graceful_s:g}"
    grace = f"; terminationGracePeriodSeconds: {needed}" if facts.is_in_kubernetes else ""
    return pass_check("stop.grace", f"a stop may take {needed} s, {waited} included{grace}", **evidence)


def judge_clock(facts: HostFacts) -> Finding | None:
    """Compare this machine's clock with those of the servers. If they differ from each other, theirs may be wrong."""
    if not facts.skews_s:
        return None
    worst = max(facts.skews_s, key=lambda name: abs(facts.skews_s[name]))
    skew_s = facts.skews_s[worst]
    evidence = {"ahead_s": {name: round(value) for name, value in facts.skews_s.items()}}
    if abs(skew_s) <= MOST_SKEW_S:
        return pass_check("clock", "agrees with the servers", **evidence)
    text = f"this machine's clock is {describe_skew(skew_s)} the clock of {worst}"
    return Finding("clock", Status.WARN, text, "set the clock: timedatectl set-ntp true", evidence)


def describe_skew(ahead_s: float) -> str:
    """Return how far this machine's clock is behind a server's that is so many seconds ahead."""
    seconds = abs(ahead_s)
    units = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))
    size, name = next((unit for unit in units if seconds >= 2 * unit[0]), (1.0, "seconds"))
    return f"{seconds / size:.0f} {name} {'behind' if ahead_s > 0 else 'ahead of'}"


HOST_CHECKS: Sequence[Check[HostFacts]] = (
    Check("config.read", (), judge_settings),
    Check("config.origin", ("config.read",), judge_origin),
    Check("config.warnings", ("config.read",), judge_warnings),
    Check("env.proxies", ("config.read",), judge_proxies),
    Check("port.free", ("config.read",), judge_port),
    Check("exposed", ("config.read",), judge_exposure),
    Check("limit.files", ("config.read",), judge_files),
    Check("limit.memory", ("config.read",), judge_memory),
    Check("shm.room", ("config.read",), judge_shared_memory),
    Check("journal.room", ("config.read",), judge_journal),
    Check("stop.grace", ("config.read",), judge_stop),
    Check("clock", ("config.read",), judge_clock),
)
