"""docs/schemas, as validators."""

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator, FormatChecker

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


@cache
def schema(name: str) -> Draft202012Validator:
    """`manifest`, `archive-job` or `flow-answer`."""
    document = json.loads((FOLDER / f"{name}.json").read_text())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document, format_checker=FormatChecker())
