"""The engines start, listen, and come back after a kill."""

from __future__ import annotations

from pathlib import Path

from tests.scale.engines import HAProxy, Nginx, Postgres
from tests.support.client import Client


def test_postgres_comes_back(postgres: Postgres) -> None:
    postgres.kill()
    postgres.start()
    assert postgres.url.startswith("postgresql://")


def test_nginx_answers(tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, 'server { listen 127.0.0.1:{port}; location / { return 200 "ok"; } }')
    with Client(nginx.port) as client:
        client.send("GET", "/")
        assert client.answer().status == 200
    nginx.stop()


def test_haproxy_answers(tmp_path: Path) -> None:
    settings = "defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n"
    haproxy = HAProxy(tmp_path, f"{settings}frontend f\n bind 127.0.0.1:{{port}}\n http-request return status 200\n")
    with Client(haproxy.port) as client:
        client.send("GET", "/")
        assert client.answer().status == 200
    haproxy.stop()
