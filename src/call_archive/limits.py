"""Limits for all input from outside; docs/limits.md has them in one table.

If a service has its own limit, it is used: input that exceeds it did not come from the
service. The others bound the memory and the time that one message or one fragment can take. Input
above a limit is refused with an error that names the limit. Times are milliseconds since the Unix
epoch.
"""

# ------------------------------------------------------------------------------ messages and events

MAX_MESSAGE_BYTES = 1_048_576
"""An SQS message (SQS quota)."""

MAX_CONTACT_ID_CHARACTERS = 256
"""A contact id (Connect API model, ContactId)."""

MAX_INSTANCE_ARN_CHARACTERS = 250
"""A Connect instance's ARN (Connect API model, InstanceIdOrArn)."""

MAX_INSTANCE_ID_CHARACTERS = 100
"""A Connect instance's id (Connect API model, InstanceId)."""

MAX_STREAM_ARN_CHARACTERS = 1_024
"""A stream's ARN (KVS API model, ResourceARN)."""

MAX_STREAM_NAME_CHARACTERS = 256
"""A stream's name (KVS API model, StreamName)."""

MAX_FRAGMENT_NUMBER_DIGITS = 128
"""A fragment number (KVS API model: 1 to 128 digits; 47 in practice)."""

MIN_TIMESTAMP_MS = 1_420_070_400_000
"""2015-01-01: before Amazon Connect existed, so a timestamp below it is not one."""

MAX_TIMESTAMP_MS = 4_102_444_800_000
"""2100-01-01."""

MAX_CALL_MS = 25 * 3_600_000
"""A job's range, and a recording. Connect ends a voice contact after 24 hours."""

MAX_RECORDINGS_PER_CONTACT = 250
"""KVS recordings of one contact: each is a Start block that ran, and a flow has at most 250 blocks
(Connect flow language)."""

# --------------------------------------------------------------------------- what a stream delivers

MAX_FRAGMENTS_PER_READ = 1_000
"""Fragment numbers of one GetMediaForFragmentList call (KVS API model)."""

MAX_FRAGMENTS_PER_CALL = 200_000
"""More than two a second for the longest call; KVS fragments usually last at least a second."""

MAX_FRAGMENT_BYTES = 16 * 1_048_576
"""One fragment. KVS takes 50 MB of video (PutMedia, error 4001), which would not fit into the
function's memory twice; two audio tracks of 20 s are 640 kB."""

MAX_FRAGMENT_ELEMENTS = 10_000
"""Elements of one fragment, every SimpleBlock counted, and those in its BlockGroups; Connect sends
about fifty. 20 s of three tracks in frames of 10 ms are 6,000."""

MAX_DESCRIPTION_BYTES = 65_536
"""Tags, Tracks and Info of one fragment together; Connect sends about 1,500 bytes. They are
decoded element by element, in Python: at worst half a second for this many."""

MAX_ELEMENT_DEPTH = 8
"""Nested masters below Tags, Tracks or Info. RFC 9559 nests SimpleTags without limit; KVS has
two levels."""

MAX_TAGS_PER_FRAGMENT = 1_000
"""Tags of one fragment (KVS: 10 of a producer's own, and a few of AWS's)."""

MAX_UINT_BYTES = 8
"""An unsigned integer element, such as a Cluster's Timestamp (RFC 8794 section 7.2)."""

MAX_TIME_DIGITS = 16
"""Digits of a timestamp tag in milliseconds: until the year 318857."""

MAX_REMEMBERED_BYTES = 1_048_576
"""A fragment that is kept to recognise the next one; sixteen are kept."""

MAX_FRAGMENT_SPAN_MS = 20_000
"""Time that one fragment may cover (KVS quota: 20 s)."""

MAX_LAG_MS = 60_000
"""How far one track may fall behind the other before silence fills it: the wait uses memory."""

MAX_HELD_FRAGMENTS = 256
"""Untagged fragments in a row that wait for a tag: four minutes, 8 MB; together no more bytes than
one fragment may have."""

# ---------------------------------------------------------------------------------- what is written

MAX_PREFIX_CHARACTERS = 512
"""The environment's ARCHIVE_PREFIX. An object key has at most 1,024 bytes (S3); ours has
up to 426 behind its prefix."""

MAX_RECORDING_BYTES = 4_294_967_295
"""A RIFF file: its size field has 32 bits."""

MAX_HOLES = 10_000
"""Gaps, and overlaps, that a manifest lists: one every nine seconds of the longest call."""

MAX_LISTED_DEVIATIONS = 10
"""Deviations of the producer's clock that a manifest lists; it counts all of them."""

MAX_REASONS = 100
"""Different reasons that a manifest gives for not being complete."""

MAX_STOPS = 8
"""Different stop fragments that are kept of one stretch: its triggers usually name one. They
travel in an object's metadata, which has at most 2,048 bytes (S3)."""

MAX_HELD_RUNS = 1_000
"""Runs of fragments that a manifest says its recording holds."""

MAX_MANIFEST_BYTES = 32 * 1_048_576
"""A manifest that is read back: the size for the longest call with every fragment missing."""

MAX_ATTRIBUTE_CHARACTERS = 1_000
"""A failed job's message attribute, such as its reason; longer text is cut."""

MAX_VISIBILITY_S = 43_200
"""How long a message may stay away (SQS quota: 12 hours)."""
