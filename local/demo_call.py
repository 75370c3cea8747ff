"""The fixed call: two WAV files → the same contact, stream, times and fragment numbers, forever.

The event files under `events/` name this call, so nothing here may depend on when or where it runs.
The stream also holds the end of another contact's call right before, and the start of another's
right after: what a reused stream looks like.
"""

from pathlib import Path
from typing import Any, Final

from local.call import Call, Delivery, next_session, simulate_call
from local.pcm import read_wav_pair, synthetic_pcm

type Json = dict[str, Any]

INSTANCE_ARN: Final = (
    "arn:aws:connect:eu-west-2:123456789012:instance/5f3b1c9e-2d47-4a86-9c01-7be0d2a4f611"
)
STREAM_ARN: Final = (
    "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/"
    "call-archive-connect-demo-contact-50a3a8d4-5f18-412a-b532-519c6fcd2c6d/1640168106910"
)
CONTACT_ID: Final = "8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21"
CONTACT_BEFORE_ID: Final = "1e7a9c34-52bb-4f0d-8d6c-3a1b5e90f742"
CONTACT_AFTER_ID: Final = "c90d6e15-7f28-4a63-b1e4-86d2f35a0b97"
# 2026-01-01T09:00:00Z
START_MS: Final = 1_767_258_000_000

VOICES: Final = Path(__file__).parent.parent / "src/call_archive_cli/rehearsal/voices"
QUEUE_ARN: Final = "arn:aws:sqs:eu-west-2:123456789012:call-archive-jobs"

_BEFORE_S: Final = 5
_AFTER_S: Final = 5
_FIRST_SEQUENCE: Final = 4001


def demo_calls(
    caller: Path | None = None, agent: Path | None = None, start_ms: int = START_MS
) -> tuple[Call, Call, Call]:
    """The call before, the fixed call, the call after.

    Args:
        caller: WAV of the customer, the one in `voices/` by default.
        agent: WAV of the agent.
        start_ms: StartTimestamp of the fixed call, for a demo at another time.
    """
    sides = read_wav_pair(caller or VOICES / "caller.wav", agent or VOICES / "agent.wav")
    before = _synthetic_call(CONTACT_BEFORE_ID, start_ms - _BEFORE_S * 1000 - 500, 3001, _BEFORE_S)
    fixed = simulate_call(
        *sides,
        contact_id=CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=start_ms,
        first_sequence=_FIRST_SEQUENCE,
        seed=7,
        delivery=Delivery(),
    )
    session = next_session(_FIRST_SEQUENCE + len(fixed.fragments))
    after = _synthetic_call(CONTACT_AFTER_ID, fixed.stop_timestamp_ms + 200, session, _AFTER_S)
    return before, fixed, after


def _synthetic_call(contact_id: str, start_ms: int, first_sequence: int, seconds: int) -> Call:
    return simulate_call(
        synthetic_pcm(seconds, first_sequence),
        synthetic_pcm(seconds, first_sequence + 1),
        contact_id=contact_id,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=start_ms,
        first_sequence=first_sequence,
        seed=first_sequence,
    )
