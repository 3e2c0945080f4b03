"""The public API of plug-ins: what it holds, that it is documented, and that nothing else is needed."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from argoproxy import api
from argoproxy.protocol.routing.call import Call

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "tests" / "api_names.json"
PAGE = (ROOT / "docs" / "extending.md").read_text()
PYTHON_BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in sorted(ROOT.glob("docs/*.md"))
    for number, block in enumerate(re.findall(r"(?s)```python\n(.*?)```", page.read_text()))
]
#: The client's side: scripts that are run against a proxy, without its package.
EXAMPLES = sorted(file for file in (ROOT / "examples").rglob("*.py"))


def imported(source: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def internal_imports(source: str) -> list[str]:
    public = {("argoproxy", "api"), ("argoproxy", "__version__"), *(("argoproxy.api", name) for name in api.__all__)}
    return [
        f"{module} {name}"
        for module, name in imported(source)
        if module.partition(".")[0] == "argoproxy" and (module, name) not in public
    ]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_examples_import_only_the_public_api(file: Path) -> None:
    assert internal_imports(file.read_text()) == []


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_the_documentation_imports_only_the_public_api(block: str) -> None:
    assert internal_imports(block) == []


def test_every_public_name_is_explained() -> None:
    table = PAGE[PAGE.index("## All names") :].partition("\n## ")[0]
    assert re.findall(r"(?m)^\| `(\w+)` \| \S", table) == sorted(api.__all__)


def test_the_list_of_names_is_complete() -> None:
    tree = ast.parse(Path(inspect.getfile(api)).read_text())
    names = {name for node in tree.body if isinstance(node, ast.ImportFrom) for name in (a.name for a in node.names)}
    assert sorted(names - {"annotations"}) == sorted(api.__all__)


def members_of(thing: Any) -> dict[str, str]:
    """Return the public members of a class with their signatures."""
    members = {}
    for name in sorted(set(dir(thing)) - set(dir(object))):
        if not name.startswith("_") and not (issubclass(thing, BaseException | str) and hasattr(Exception, name)):
            member = inspect.getattr_static(thing, name)
            plain = getattr(member, "__func__", member)
            members[name] = str(inspect.signature(plain)) if inspect.isfunction(plain) else "property or attribute"
    return members


def describe(name: str) -> Any:
    thing = getattr(api, name)
    if inspect.isfunction(thing):
        return str(inspect.signature(thing))
    if not inspect.isclass(thing) or issubclass(thing, str):
        return re.sub(r"argoproxy[\w.]*\.", "", str(thing)) if not isinstance(thing, api.Event) else thing.raw.decode()
    init = next(
        (vars(base)["__init__"] for base in thing.__mro__ if inspect.isfunction(vars(base).get("__init__"))), None
    )
    return {"call": str(inspect.signature(init)) if init else "", "members": members_of(thing)}


def test_names_and_signatures_stay_as_they_are() -> None:
    """A change is a change for every plug-in: write it into CHANGELOG.md, then run this with UPDATE_API=1."""
    now = {name: describe(name) for name in api.__all__}
    if os.environ.get("UPDATE_API"):
        SNAPSHOT.write_text(json.dumps(now, indent=1) + "\n")
    assert now == json.loads(SNAPSHOT.read_text())


def blocks_of_the_page() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in re.findall(r"(?s)```python\n(.*?)```", PAGE):
        exec(compile(block, "extending.md", "exec"), names)
    return names


class Reply:
    status, headers = 200, ()

    def iter_bytes(self) -> Iterator[bytes]:
        yield b'{"body": "damn it"}'

    iter_raw = iter_bytes

    def read(self) -> bytes:
        return b"".join(self.iter_bytes())


def test_the_classes_of_the_page_work(capsys: pytest.CaptureFixture[str]) -> None:
    names = blocks_of_the_page()
    upstream = names["Shouting"]("http://x", loud=False)
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    call = Call("id", 1, "/v1/chat/completions", "", (), body, None, requested_model="m")
    assert upstream.completion_request(call).body == b"Hi"
    batches = api.apply_filters(upstream.read_completion(Reply(), call), lambda: [names["Polite"]()])
    (document,) = (event for batch in batches for event in batch)
    assert document.chunk is not None
    assert document.chunk["choices"][0]["message"]["content"] == "dear it"
    tokens = names["Tokens"]({"t": "ann"})
    assert tokens.authenticate((("Authorization", "Bearer t"),)) == api.Principal("ann")
    with pytest.raises(api.AuthenticationError):
        tokens.authenticate(())
    fields: dict[str, Any] = dict.fromkeys(api.Outcome.__dataclass_fields__, "")
    outcome = api.Outcome(**{**fields, "total_s": 11.0, "ending": api.Ending.COMPLETE})
    names["SlowRequests"]()(outcome)
    assert "11.0 s" in capsys.readouterr().out


def test_streams_are_filtered_by_the_page_s_filter_too() -> None:
    polite = blocks_of_the_page()["Polite"]()
    chunk = {"choices": [{"index": 0, "delta": {"content": "damn"}, "finish_reason": None}]}
    changed, last = polite.feed([api.Event.of(chunk), api.DONE])
    assert changed.chunk["choices"][0]["delta"] == {"content": "dear"}
    assert last is api.DONE
