"""The forms for issues are ones that a forge accepts, and a report of a fault has what finds its cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.processes import ROOT

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")) or [Path("missing")]
TYPES = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def read(form: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / form).read_text())
    return content


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_a_form_is_well_formed(form: Path) -> None:
    content = read(form)
    assert content["name"]
    assert content["description"]
    assert {part["type"] for part in content["body"]} <= TYPES
    fields = [part for part in content["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in fields}) == len(fields)
    assert all(part["attributes"]["label"] for part in fields)


def test_a_report_needs_the_output_of_doctor() -> None:
    (field,) = (part for part in read(Path("bug.yml"))["body"] if part.get("id") == "doctor")
    assert "argoproxy doctor --json" in field["attributes"]["label"]
    assert field["validations"]["required"] is True
