"""Adapter: Amazon Connect's DescribeContact. Source: Amazon Connect API reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from call_archive.aws.faults import failure_text, refusal_code
from call_archive.errors import ContactFaultError
from call_archive.fields import instance_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_connect import ConnectClient

_PERMANENT_CODES = frozenset(
    ("AccessDeniedException", "InvalidParameterException", "InvalidRequestException")
)


@dataclass(frozen=True, slots=True)
class Contacts:
    """The contacts of any instance that the role may describe."""

    client: ConnectClient

    def describe(self, instance_arn: str, contact_id: str) -> Mapping[str, object]:
        """The `Contact` of a DescribeContact answer.

        Raises:
            ContactFaultError: Connect refused or failed; an unknown contact may be known later.
        """
        try:
            answer = self.client.describe_contact(
                InstanceId=instance_id_of(instance_arn), ContactId=contact_id
            )
            return {**answer["Contact"]}
        except ClientError as error:
            code = refusal_code(error)
            raise ContactFaultError(
                f"CONNECT_{code}",
                failure_text("DescribeContact", error),
                retryable=code not in _PERMANENT_CODES,
            ) from error
        except BotoCoreError as error:
            raise ContactFaultError(
                "CONNECT_UNREACHABLE", failure_text("DescribeContact", error), retryable=True
            ) from error
        except (ResponseParserError, KeyError, ValueError) as error:
            # botocore reads cut headers, or no JSON, as an answer without members; no UTF-8 raises.
            raise ContactFaultError(
                "CONNECT_MALFORMED_ANSWER",
                "DescribeContact answered without a contact",
                retryable=True,
            ) from error
