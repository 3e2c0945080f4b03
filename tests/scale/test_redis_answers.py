"""Answers in a Redis server: any replica finds them, and one without a server has none."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from argoproxy.protocol.cache.kept_answer import AnswerForm, KeptAnswer
from argoproxy.stores.redis.redis_answers import MOST_BYTES, RedisAnswers
from tests.support.processes import eventually
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

KEY = bytes(range(32))
STREAM = KeptAnswer(AnswerForm.STREAM, b"data: 1\n\ndata: 2\n\n", (9, -9))


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRedis]:
    with RealRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def test_what_one_replica_keeps_another_one_finds(redis: RealRedis) -> None:
    servers = [redis.server(), redis.server()]
    first, second = (RedisAnswers(server, "t") for server in servers)
    assert second.read(KEY) is None
    first.write(KEY, STREAM, 60.0)
    found = second.read(KEY)
    assert found is not None
    assert found.answer == STREAM
    assert 0 <= found.age_s < 60
    first.write(KEY, STREAM, 0.001)
    eventually(lambda: second.read(KEY) is None)
    for server in servers:
        server.close()


def test_answers_that_can_be_read_by_no_one(redis: RealRedis) -> None:
    server = redis.server()
    answers = RedisAnswers(server, "t")
    noise = KeptAnswer(AnswerForm.DOCUMENT, b"".join(number.to_bytes(4, "big") for number in range(MOST_BYTES)))
    answers.write(KEY, noise, 60.0)
    assert answers.read(KEY) is None
    for value in (b"", b"stream 5", b"stream x\nx", b"stream 60000\nnot compressed", b"\xff\n"):
        server.execute("SET", f"{{t}}:answer:{KEY.hex()}", value)
        assert answers.read(KEY) is None
    server.close()


def test_a_server_in_trouble_has_none_and_is_left_alone(redis: RealRedis, caplog: pytest.LogCaptureFixture) -> None:
    server = redis.server(0.5)
    answers = RedisAnswers(server, "t", pause_s=0.5)
    answers.write(KEY, STREAM, 60.0)
    redis.freeze()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert answers.read(KEY) is None
            answers.write(KEY, STREAM, 60.0)
        redis.thaw()
        eventually(lambda: answers.read(KEY) is not None)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "code=cache_unavailable",
        "code=cache_available",
    ]
    server.close()
