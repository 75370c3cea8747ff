"""`python -m flows.check FILE…`: what is wrong with flows, and what to do; exits 1 at an error."""

import json
import sys
from pathlib import Path

from flows.advice import check_advice
from flows.document import Finding, Json, Level, OtherForm, decode_json
from flows.rules import check_document, check_language, read_actions


def check_flow(text: str) -> list[Finding]:
    """Everything that is found in a flow's text."""
    content = decode_json(text)
    if isinstance(content, OtherForm):
        return [Finding("json", "", content.problem, content.remedy)]
    flow, findings = read_actions(content)
    return [
        *check_document(content, _characters(text, content)),
        *findings,
        *check_language(flow),
        *check_advice(flow),
    ]


def _characters(text: str, content: Json) -> int:
    """The flow's length; of the answer of describe-contact-flow, that of the flow inside."""
    is_answer = '"ContactFlow"' in text
    return len(json.dumps(content, ensure_ascii=False)) if is_answer else len(text)


def check_file(path: Path) -> list[Finding]:
    """Everything that is found in a file."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [Finding("file", "", f"it cannot be read: {error}", "Name a flow's JSON file")]
    return check_flow(text)


def main(arguments: list[str]) -> int:
    """The command line; the number of the exit."""
    if not arguments:
        print("usage: python -m flows.check FILE…", file=sys.stderr)
        return 2
    is_wrong = False
    for file in arguments:
        findings = check_file(Path(file))
        for finding in findings:
            print(f"{file}: {finding}")
        if not findings:
            print(f"{file}: nothing found")
        is_wrong |= any(finding.level is Level.ERROR for finding in findings)
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
