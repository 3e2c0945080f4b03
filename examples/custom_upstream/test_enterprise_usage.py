from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from enterprise_usage import UsageLog

from argoproxy.api import Ending, Outcome

OUTCOME = Outcome(
    id="1",
    client_request_id="",
    method="POST",
    route="/v1/chat/completions",
    path="/v1/chat/completions",
    model='m "世界"\n',
    upstream="enterprise",
    key="ann",
    send_mode="stream",
    return_mode="stream",
    status=200,
    ending=Ending.COMPLETE,
    code=None,
    first_byte_s=0.1,
    overhead_s=0.001,
    total_s=1.23456,
    bytes_sent=100,
    prompt_tokens=7,
    completion_tokens=None,
)


def test_a_request_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "usage.jsonl"
    UsageLog(file=str(file))(OUTCOME)
    (line,) = file.read_bytes().splitlines()
    told = json.loads(line)
    assert datetime.fromisoformat(told.pop("time")).tzinfo
    assert told == {
        "id": "1",
        "caller": "ann",
        "model": 'm "世界"\n',
        "prompt_tokens": 7,
        "completion_tokens": None,
        "ending": "complete",
        "status": 200,
        "seconds": 1.235,
    }


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "usage.jsonl"
    log = UsageLog(file=str(file))
    log(OUTCOME)
    file.rename(tmp_path / "usage.1")
    log(OUTCOME)
    assert len(file.read_bytes().splitlines()) == len((tmp_path / "usage.1").read_bytes().splitlines()) == 1


def test_several_logs_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "usage.jsonl"

    def work(number: int) -> None:
        log = UsageLog(file=str(file))
        for _ in range(50):
            log(replace(OUTCOME, id=str(number), model="m" * 2000))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    ids = [json.loads(line)["id"] for line in file.read_bytes().splitlines()]
    assert sorted(ids) == sorted(str(number) for number in range(4) for _ in range(50))


def test_a_file_that_cant_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`file` can't be written"):
        UsageLog(file=str(tmp_path / "missing" / "usage.jsonl"))
