"""What the papers say is held against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from argoproxy import __version__
from tests.support.pages import anchors, links, name_of, pages

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(("language", "file"), [("nginx", "compose/nginx.conf"), ("haproxy", "haproxy.cfg")])
def test_the_recipes_for_replicas_are_the_files(language: str, file: str) -> None:
    page, text = (ROOT / "docs" / "replicas.md").read_text(), (ROOT / "deploy" / file).read_text()
    assert re.findall(rf"(?s)```{language}\n(.*?)```", page) == [text.partition("\n")[2]]


def test_the_architecture_lists_each_folder_with_its_modules() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    listed = {
        folder.removeprefix("argoproxy/").rstrip("/"): set(re.findall(r"`([a-z_]+)`", modules))
        for folder, modules in re.findall(r"(?m)^\| `([a-z_/]+)/` \| (.*) \|$", text)
    }
    package = ROOT / "argoproxy"
    there: dict[str, set[str]] = {}
    for file in package.rglob("*.py"):
        if file.name != "__init__.py":
            folder = file.parent.relative_to(package).as_posix()
            there.setdefault("argoproxy" if folder == "." else folder, set()).add(file.stem)
    assert listed == there


def test_the_architecture_is_short() -> None:
    assert (ROOT / "ARCHITECTURE.md").read_text().count("\n") <= 120


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name in (
        "requirements.txt",
        "requirements-gevent.txt",
        "requirements-redis.txt",
        "requirements-dev.txt",
        "requirements-site.txt",
    ):
        listed = (ROOT / name).read_text().partition("# What those bring along.")[0]
        for package in re.findall(r"(?m)^([\w-]+)==", listed):
            if not package.startswith(("types-", "zope-", "greenlet")):
                assert f"**{package}**" in text, package


@pytest.mark.parametrize(
    "name", ["requirements", "requirements-gevent", "requirements-redis", "requirements-dev", "requirements-site"]
)
def test_every_pinned_package_is_locked_by_its_hashes(name: str) -> None:
    pinned = re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / f"{name}.txt").read_text())
    locked = {
        (re.sub("[._-]+", "-", package.lower()), version): hashes.count("--hash=sha256:")
        for package, version, hashes in re.findall(
            r"(?m)^([\w.-]+)==(\S+)[^\n]*((?:\n {4}--hash=.*)+)", (ROOT / f"{name}.lock").read_text()
        )
    }
    for package, version in pinned:
        assert locked.get((re.sub("[._-]+", "-", package.lower()), version), 0) > 0, package


@pytest.mark.parametrize("name", ["run_app.sh", "run_tests.sh", "Dockerfile"])
def test_nothing_is_installed_without_a_hash(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "pip install" in line and not line.lstrip().startswith("#")]
    assert installs
    assert all("--require-hashes" in line for line in installs)


def test_the_compose_file_describes_the_image() -> None:
    (service,) = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    assert (service["build"], service["ports"]) == (".", ["${PORT:-8000}:8000"])
    assert service["healthcheck"]["test"][1:] == ["python", "-m", "argoproxy.server.healthcheck"]
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (
        True,
        ["ALL"],
        ["no-new-privileges:true"],
    )


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / path).resolve() for path, _ in links(index)}
    every = {page for page in pages() if page.parent.name != "decisions"} | {ROOT / "docs" / "decisions" / "README.md"}
    assert {name_of(page) for page in every - listed - {index}} == set()


def test_pages_that_messages_name_are_there() -> None:
    named = {
        (file.name, *match)
        for file in (ROOT / "argoproxy").rglob("*.py")
        for match in re.findall(r"(docs/[\w/-]+\.md)(?:#([\w-]+))?", file.read_text())
    }
    for file, page, anchor in sorted(named):
        assert (ROOT / page).exists(), f"{file}: {page}"
        assert not anchor or anchor in anchors(ROOT / page), f"{file}: {page}#{anchor}"
