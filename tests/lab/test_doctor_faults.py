"""`doctor` before every fault of the laboratory: it ends, with a report; what breaks a chat is a failure there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from argoproxy.cli.doctor.examination import examine, parse
from argoproxy.cli.doctor.judge.findings import Finding, Status
from tests.lab.faults import CATALOGUE, COMPLETE, Fault, reply
from tests.support.processes import Upstream, free_port

AT_ONCE = 8
#: Ends the silence of those that say nothing more.
PATIENCE = "1.5"
SOUND = (Status.OK, Status.INFO)


def examine_fault(fault: Fault, upstream: Upstream, folder: Path) -> Sequence[Finding]:
    """Return the findings of a server that lists its models well, and whose chats are struck."""
    script = upstream.script(*fault.steps(reply(streams=fault.streamed is not None, text=fault.text)), body=fault.body)
    upstream.open(script, 10)
    text: Any = {"upstreams": {"gpu": {"base_url": upstream.url}}}
    text["models"] = {"default": {"append_to_last_user_message": f" script:{script}"}}
    (folder / f"{script}.yaml").write_text(json.dumps(text))
    options, settings = parse([f"{script}.yaml", "--patience", PATIENCE], "doctor")
    environ = settings.environment({"HOST": "127.0.0.1", "PORT": str(free_port())}, folder)
    return examine(options, environ, folder).findings


def test_every_fault_is_reported(upstream: Upstream, tmp_path: Path) -> None:
    faults = {name: fault for name, fault in CATALOGUE.items() if not (fault.is_of_tls or fault.is_heavy)}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reports = dict(
            zip(faults, pool.map(lambda one: examine_fault(one, upstream, tmp_path), faults.values()), strict=True)
        )
    unseen = [
        name
        for name, findings in reports.items()
        if faults[name].streamed not in (COMPLETE, None)
        and all(one.status in SOUND for one in findings if one.code in ("chat.whole", "chat.stream"))
    ]
    assert unseen == []
