"""Adapter: Amazon Connect's DescribeContact. Source: Amazon Connect API reference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from call_archive.aws.faults import connect_fault, translated
from call_archive.fields import instance_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_connect import ConnectClient


@dataclass(frozen=True, slots=True)
class Contacts:
    """The contacts of any instance that the role may describe."""

    client: ConnectClient

    def describe(self, instance_arn: str, contact_id: str) -> Mapping[str, object]:
        """The `Contact` of a DescribeContact response.

        Raises:
            ContactFaultError: Connect refused or failed; an unknown contact may be known later.
        """
        with translated(partial(connect_fault, "DescribeContact")):
            answer = self.client.describe_contact(
                InstanceId=instance_id_of(instance_arn), ContactId=contact_id
            )
            return {**answer["Contact"]}
