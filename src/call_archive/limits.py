"""What a job, a listing, a fragment and a recording may be at most.

Each limit is the service's own where the service has one; anything above it is refused with an
error that names it. Times are milliseconds since the Unix epoch.
"""

MAX_MESSAGE_BYTES = 1_048_576
"""An SQS message (SQS quota)."""

MAX_FRAGMENT_NUMBER_DIGITS = 128
"""A fragment number (KVS API model: 1 to 128 digits; 47 in practice)."""

MIN_TIMESTAMP_MS = 1_420_070_400_000
"""2015-01-01: before Amazon Connect existed, so a timestamp below it is not one."""

MAX_TIMESTAMP_MS = 4_102_444_800_000
"""2100-01-01."""

MAX_CALL_MS = 25 * 3_600_000
"""One recording. Connect ends a voice contact after 24 hours."""

MAX_FRAGMENTS_PER_CALL = 200_000
"""More than two a second for the longest call; KVS fragments last at least a second as a rule."""

MAX_FRAGMENT_BYTES = 16 * 1_048_576
"""One fragment. KVS ends one after 20 s: that is 640 kB of two audio tracks."""

MAX_FRAGMENT_ELEMENTS = 100_000
"""Elements of one fragment; Connect sends about fifty."""

MAX_TAGS_PER_FRAGMENT = 1_000
"""Tags of one fragment (KVS: 10 of a producer's own, and a few of AWS's)."""

MAX_FRAGMENT_SPAN_MS = 20_000
"""Time that one fragment may cover (KVS quota: 20 s)."""

MAX_FRAGMENTS_PER_READ = 1_000
"""Fragment numbers of one GetMediaForFragmentList call (KVS API model)."""

MAX_RECORDING_BYTES = 4_294_967_295
"""A RIFF file: its size field has 32 bits."""
