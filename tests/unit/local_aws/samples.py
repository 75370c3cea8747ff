"""Names and times that the tests of the simulated services share."""

from collections.abc import Callable

from local.call import Call

INSTANCE_ARN = (
    "arn:aws:connect:eu-west-2:123456789012:instance/5f3b1c9e-2d47-4a86-9c01-7be0d2a4f611"
)
STREAM_ARN = (
    "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/t-connect-t-contact-1/1640168106910"
)
CONTACT_ID = "8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21"
START_MS = 1_767_258_000_000

type MakeCall = Callable[..., Call]
