"""docs/schemas, as validators."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


def document(name: str) -> dict[str, Any]:
    """`manifest`, `archive-job` or `flow-answer`, as JSON."""
    read: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return read


@cache
def schema(name: str) -> Draft202012Validator:
    """The same, as a validator."""
    Draft202012Validator.check_schema(document(name))
    return Draft202012Validator(document(name), format_checker=FormatChecker())
