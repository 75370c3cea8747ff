"""boto3's clients of a local AWS: one session a process, one client a service and an address.

A session reads botocore's data again, and that takes longer than most tests.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boto3.session import Session

REGION = "eu-west-2"


@cache
def local_session() -> Session:
    """The session of every client of a local AWS; its account is fictitious."""
    # Imported here: `python -m local events` needs neither boto3 nor the second that it takes.
    from boto3.session import Session  # noqa: PLC0415 - see above

    return Session("test", "test", region_name=REGION)


@cache
def local_client(endpoint_url: str, service: str, certificate: str = "") -> Any:  # noqa: ANN401 - a client by its name
    """The client of a service at an address; over TLS it trusts this certificate, a file."""
    return local_session().client(  # type: ignore[call-overload] # a name
        service, endpoint_url=endpoint_url, verify=certificate or None
    )
