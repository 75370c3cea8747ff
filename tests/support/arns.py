"""The ARNs of the tests that need one, and do not care which."""

INSTANCE_ARN = "arn:aws:connect:eu-west-2:123456789012:instance/i-1"
STREAM_ARN = "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910"
