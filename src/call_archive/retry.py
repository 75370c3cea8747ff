"""When a message comes back, and when it stops coming back: one frozen policy, no I/O.

SQS counts how often it has delivered a message. The first receives wait for fragments that do not
exist yet. From a later receive on, a run accepts a partial recording. At the last one, the message
is given up.

The delays were chosen with a model of the services: `make latency`.
"""

from dataclasses import dataclass

FIRST_RUN_S = 2
"""How long after a stop the first run of its job starts: most tails are listed by then."""


def first_delay_s(stopped_ms: int, now_ms: int) -> int:
    """How long the job of a named stop is delayed, in whole seconds."""
    wait_ms = stopped_ms + FIRST_RUN_S * 1000 - now_ms
    return max(0, min(FIRST_RUN_S, -(-wait_ms // 1000)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a message's receive count decides what happens to it.

    Attributes:
        partial_at_receive: from this receive on a run publishes a partial recording instead of
            waiting for missing fragments.
        give_up_at_receive: at this receive any failure is final.
        delays_s: how long the message is hidden after the first, second, … receive; the last
            delay repeats.
    """

    partial_at_receive: int = 5
    give_up_at_receive: int = 10
    delays_s: tuple[int, ...] = (3, 7, 14, 61, 80, 160, 300)

    def accepts_partial(self, receives: int) -> bool:
        """Whether a run at this receive publishes a partial recording."""
        return receives >= self.partial_at_receive

    def delay_s(self, receives: int, *, retryable: bool, asked_s: int | None = None) -> int | None:
        """When a failed message comes back; None if it is given up.

        Args:
            receives: how often the message was delivered, this time included.
            retryable: whether a later run can succeed.
            asked_s: the delay that the failure asks for; None leaves it to the policy.
        """
        if not retryable or receives >= self.give_up_at_receive:
            return None
        if asked_s is not None:
            return asked_s
        return self.delays_s[min(receives, len(self.delays_s)) - 1]


POLICY = RetryPolicy()
"""The deployed policy."""
