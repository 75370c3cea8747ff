"""When a message comes back, and when it stops coming back: one frozen policy, no I/O.

SQS counts how often it has delivered a message. The first receives wait for what is not there
yet; from one receive on a run accepts a partial recording; at another the message is given up.
A contact that Connect does not show yet is looked at more often, so the counts alone would come
too early: both decisions wait for the message's age, too, if SQS says it.

The delays were chosen against a model of the services: `python -m bench.latency`.
"""

from dataclasses import dataclass

FIRST_RUN_S = 2
"""How long after a stop the first run of its job is worth it: most tails are listed by then."""


def first_delay_s(stopped_ms: int, now_ms: int) -> int:
    """How long the job of a stop that Connect has named stays away, in whole seconds."""
    wait_ms = stopped_ms + FIRST_RUN_S * 1000 - now_ms
    return max(0, min(FIRST_RUN_S, -(-wait_ms // 1000)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a message's receive count, and its age, decide what happens to it.

    Attributes:
        partial_at_receive: from this receive on a run publishes a partial recording instead of
            waiting for what is missing.
        partial_after_s: but not before the message is so old.
        give_up_at_receive: from this receive on a failure is final, whatever it is.
        give_up_after_s: but not before the message is so old.
        most_receives: a failure at this receive is final at any age: one less than the queue's own
            limit, so that a message never leaves the queue without its reason.
        delays_s: how long the message stays away after the first, second, … receive; the last
            delay repeats.
    """

    partial_at_receive: int = 5
    partial_after_s: int = 85
    give_up_at_receive: int = 10
    give_up_after_s: int = 1_200
    most_receives: int = 14
    delays_s: tuple[int, ...] = (3, 6, 15, 61, 80, 160, 300)

    def accepts_partial(self, receives: int, age_s: float | None = None) -> bool:
        """Whether a run of this receive publishes what it has.

        Args:
            receives: how often the message was delivered, this time included.
            age_s: since it was delivered first; None if that is not known.
        """
        return receives >= self.partial_at_receive and _is_over(self.partial_after_s, age_s)

    def delay_s(
        self,
        receives: int,
        *,
        retryable: bool,
        age_s: float | None = None,
        asked_s: int | None = None,
    ) -> int | None:
        """When a failed message comes back; None if it is given up.

        Args:
            receives: how often the message was delivered, this time included.
            retryable: whether a later run can succeed.
            age_s: since it was delivered first; None if that is not known.
            asked_s: when the failure says that a retry is worth it; None leaves it to the policy.
        """
        if not retryable or self._is_given_up(receives, age_s):
            return None
        if asked_s is not None:
            return asked_s
        return self.delays_s[min(receives, len(self.delays_s)) - 1]

    def _is_given_up(self, receives: int, age_s: float | None) -> bool:
        if receives >= self.most_receives:
            return True
        return receives >= self.give_up_at_receive and _is_over(self.give_up_after_s, age_s)


def _is_over(limit_s: int, age_s: float | None) -> bool:
    return age_s is None or age_s >= limit_s


POLICY = RetryPolicy()
"""The one that is deployed."""
