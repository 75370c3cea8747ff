"""A failed call of any AWS service → its code and a text in our words."""

import re

_CODE = re.compile(r"[A-Za-z0-9_.]{1,64}")


def refusal_code(error: Exception) -> str:
    """The service's code of a refused call, if it is a word; "" for a call that failed on the way.

    A service's sentence can quote anything, and nobody but the service knows what: none is kept.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415 - cold start

    if not isinstance(error, ClientError):
        return ""
    code = str(error.response["Error"].get("Code", ""))
    return code if _CODE.fullmatch(code) else "UNNAMED"


def failure_text(api: str, error: Exception) -> str:
    """What became of a call, in words that are ours."""
    code = refusal_code(error)
    return f"{api} answered {code}" if code else f"{api} failed: {type(error).__name__}"
