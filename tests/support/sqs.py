"""Time in moto's SQS: hidden messages become visible without a wait."""

import time
from typing import Any

from local.clients import REGION
from local.resources import ACCOUNT_ID


def messages_in(queue: str) -> list[Any]:
    """All messages of a queue, moto's own: SQS does not show those that are hidden."""
    from moto.sqs.models import sqs_backends  # noqa: PLC0415 - takes two seconds

    messages: list[Any] = sqs_backends[ACCOUNT_ID][REGION].queues[queue]._messages
    return messages


def pass_time(queue: str) -> float:
    """Lets the time pass until a message is visible; how long that is, in ms."""
    messages = messages_in(queue)
    now_ms = time.time() * 1000
    wait_ms: float = max(0.0, min(message.visible_at for message in messages) - now_ms + 1)
    for message in messages:
        message.visible_at -= wait_ms
    return wait_ms
