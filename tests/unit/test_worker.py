"""One message in, what becomes of it out: with everything that talks to AWS in memory."""

import json
from collections.abc import Callable, Generator, Iterable, Mapping

import pytest

from call_archive.errors import ArchiveError, NotYetError, OutOfTimeError, StreamFaultError
from call_archive.job import ArchiveJob, Trigger, build_job_message
from call_archive.media.pcm import Direction
from call_archive.reasons import Code, Refusal, Service
from call_archive.recording.listing import FetchedFragment, ListedFragment
from call_archive.retry import POLICY, RetryPolicy
from call_archive.worker import (
    Aged,
    ComesBack,
    Done,
    Duplicate,
    ErasedContact,
    Failed,
    Message,
    NotStreamed,
    Outcome,
    Terms,
    TimeCheck,
    decode_record,
    fail,
    unforeseen,
    work,
)
from tests.support.bucket import MemoryArchive
from tests.support.manifests import older_manifest

ACCOUNT = "111122223333"
INSTANCE = f"arn:aws:connect:eu-west-2:{ACCOUNT}:instance/i-1"
START_MS = 1_700_000_000_000
JOB = ArchiveJob(
    contact_id="c-1",
    initial_contact_id="c-1",
    instance_arn=INSTANCE,
    stream_arn=f"arn:aws:kinesisvideo:eu-west-2:{ACCOUNT}:stream/a-connect-b-contact-c/1",
    start_fragment_number=100,
    start_timestamp_ms=START_MS,
    stop_fragment_number=102,
    stop_timestamp_ms=START_MS + 3_000,
    requested_at_ms=START_MS + 3_500,
)
EVENT = {
    "detail-type": "Amazon Connect Contact Event",
    "detail": {
        "eventType": "DISCONNECTED",
        "channel": "VOICE",
        "contactId": "c-1",
        "instanceArn": INSTANCE,
        "disconnectTimestamp": "2023-11-14T22:13:23Z",
    },
}


MANIFEST = older_manifest(
    contactId=JOB.contact_id,
    instanceArn=JOB.instance_arn,
    streamArn=JOB.stream_arn,
    recordingUri="s3://my-calls/recordings/100.wav",
    fragments=older_manifest()["fragments"] | {"accepted": 3, "last": "102"},
    rangeEnd=None,
)


class Ports:
    """A stream that fails, an archive that has it, a contact as it is given."""

    def __init__(
        self,
        *,
        failures: Iterable[ArchiveError] = (),
        archived: bool = False,
        contact: Mapping[str, object] | None = None,
    ) -> None:
        self._failures = list(failures)
        self._archived = archived
        self._contact = contact or {}
        self.opened: list[ArchiveJob] = []
        self.erased = False
        self.held = False
        self.archives: list[MemoryArchive] = []

    def is_erased(self, job: ArchiveJob) -> bool:
        return self.erased

    def is_held(self, job: ArchiveJob) -> bool:
        return self.held

    def describe_contact(self, instance_arn: str, contact_id: str) -> Mapping[str, object]:
        assert (instance_arn, contact_id) == (INSTANCE, "c-1")
        return self._contact

    def open_source(self, job: ArchiveJob, check_time: Callable[[], None]) -> "Ports":
        check_time()
        self.opened.append(job)
        return self

    def open_archive(self, job: ArchiveJob, *, is_held: bool = False) -> MemoryArchive:
        archive = MemoryArchive(is_held=is_held)
        self.archives.append(archive)
        if self._archived:
            archive.bucket.place(b"RIFF", MANIFEST)
        return archive

    def list_fragments(self, from_ms: int, to_ms: int) -> Iterable[ListedFragment]:
        raise self._failures.pop(0)

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        raise NotImplementedError


def message(body: object, receives: int = 1, sent_ms: int | None = START_MS + 4_000) -> Message:
    return Message(body=json.dumps(body), message_id="m-1", receives=receives, sent_ms=sent_ms)


TERMS = Terms(tracks=(Direction.FROM_CUSTOMER,), account_id=ACCOUNT)


def run(given: Message, ports: Ports, terms: Terms = TERMS) -> Outcome:
    return work(given, ports, terms, now_ms=lambda: START_MS + 60_000, check_time=lambda: None)


def throttled() -> StreamFaultError:
    code = Refusal(Service.KVS, "ClientLimitExceededException")
    return StreamFaultError(code, "too fast", retryable=True)


def denied() -> StreamFaultError:
    return StreamFaultError(Refusal(Service.KVS, "AccessDeniedException"), "no", retryable=False)


def test_a_message_that_is_not_ours_fails_at_once() -> None:
    outcome = run(message({"hello": "world"}), Ports())
    assert isinstance(outcome, Failed)
    assert outcome.failure.code == "UNKNOWN_MESSAGE"
    assert outcome.facts == ()


def test_a_contact_that_was_never_streamed_is_done_with() -> None:
    late = TERMS, START_MS + 700_000
    outcome = work(
        message(EVENT, sent_ms=None),
        Ports(),
        late[0],
        now_ms=lambda: late[1],
        check_time=lambda: None,
    )
    assert outcome == Done((NotStreamed(Trigger.CONTACT_EVENT),))


def test_a_contact_that_may_be_shown_later_comes_back_when_it_is_worth_it() -> None:
    ended_ms = 1_700_000_003_000  # disconnectTimestamp
    outcome = work(
        message(EVENT),
        Ports(),
        TERMS,
        now_ms=lambda: ended_ms + 10_000,
        check_time=lambda: None,
    )
    assert isinstance(outcome, ComesBack)
    assert outcome.after_s == 90
    assert outcome.failure.code == "NO_RECORDING_YET"


def test_what_is_archived_is_a_duplicate() -> None:
    outcome = run(message(build_job_message(JOB)), Ports(archived=True))
    assert outcome == Done((Duplicate(Trigger.FLOW),))


@pytest.mark.parametrize("is_held", [False, True])
def test_what_is_written_of_a_held_contact_is_held(is_held: bool) -> None:
    ports = Ports(archived=True)
    ports.held = is_held
    run(message(build_job_message(JOB)), ports)
    assert [archive.is_held for archive in ports.archives] == [is_held]


def test_an_erased_contact_is_done_with_and_nothing_is_read() -> None:
    ports = Ports(failures=[throttled()])
    ports.erased = True
    outcome = run(message(build_job_message(JOB)), ports)
    assert outcome == Done((ErasedContact(Trigger.FLOW),))


@pytest.mark.parametrize(("receives", "after_s"), [(1, 3), (4, 61), (9, 300)])
def test_a_retryable_failure_comes_back(receives: int, after_s: int) -> None:
    outcome = run(message(build_job_message(JOB), receives), Ports(failures=[throttled()]))
    assert isinstance(outcome, ComesBack)
    assert (outcome.after_s, outcome.failure.code) == (
        after_s,
        "KVS_ClientLimitExceededException",
    )
    assert outcome.facts == (Aged(60_000),)


def test_at_the_last_receive_it_fails() -> None:
    outcome = run(message(build_job_message(JOB), 10), Ports(failures=[throttled()]))
    assert isinstance(outcome, Failed)


def test_a_refusal_fails_at_once() -> None:
    outcome = run(message(build_job_message(JOB)), Ports(failures=[denied()]))
    assert isinstance(outcome, Failed)
    assert outcome.failure.code == "KVS_AccessDeniedException"


@pytest.mark.parametrize("failures", [[throttled, denied], [denied, throttled]])
def test_of_several_failures_a_retryable_one_decides(
    failures: list[Callable[[], ArchiveError]],
) -> None:
    recordings = [
        {
            "StorageType": "KINESIS_VIDEO_STREAM",
            "Location": JOB.stream_arn,
            "FragmentStartNumber": number,
            "FragmentStopNumber": number,
            "StartTimestamp": "2023-11-14T22:13:20Z",
            "StopTimestamp": "2023-11-14T22:13:23Z",
        }
        for number in ("100", "200", "x")
    ]
    ports = Ports(failures=[failure() for failure in failures], contact={"Recordings": recordings})
    outcome = run(message(EVENT), ports)
    assert [job.start_fragment_number for job in ports.opened] == [100, 200]
    assert isinstance(outcome, ComesBack)
    assert outcome.failure.code == "KVS_ClientLimitExceededException"
    assert len(outcome.facts) == 2


def test_another_accounts_instance_is_not_served() -> None:
    outcome = run(
        message(build_job_message(JOB)),
        Ports(),
        Terms(tracks=TERMS.tracks, account_id="999999999999"),
    )
    assert isinstance(outcome, Failed)
    assert outcome.failure.code == "FOREIGN_INSTANCE"


def test_a_failure_may_say_when_to_come_back() -> None:
    late = NotYetError(Code.NO_RECORDING_YET, "later", retry_after_s=90)
    outcome = fail(message({}), late, POLICY)
    assert isinstance(outcome, ComesBack)
    assert outcome.after_s == 90


def test_an_unforeseen_error_is_tried_again_and_quotes_nothing() -> None:
    error = unforeseen(ValueError("+44 20 7946 0000"))
    assert (error.code, str(error), error.retryable) == ("UNFORESEEN", "ValueError", True)


def test_a_run_ends_while_there_is_time() -> None:
    TimeCheck(lambda: 60_000)()
    with pytest.raises(OutOfTimeError):
        TimeCheck(lambda: 59_999)()


def test_a_record_of_sqs() -> None:
    record = {
        "messageId": "m-1",
        "receiptHandle": "r-1",
        "body": "{}",
        "eventSourceARN": "arn:aws:sqs:eu-west-2:111122223333:jobs",
        "attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": "1700000000000",
        },
    }
    assert decode_record(record) == Message(
        body="{}",
        message_id="m-1",
        receives=3,
        sent_ms=1_700_000_000_000,
        queue_arn="arn:aws:sqs:eu-west-2:111122223333:jobs",
        receipt_handle="r-1",
    )


@pytest.mark.parametrize(
    "record",
    [{}, {"attributes": None}, {"attributes": {"ApproximateReceiveCount": "x"}}],
)
def test_what_a_record_leaves_out_is_empty(record: dict[str, object]) -> None:
    assert decode_record(record) == Message(body="")


def test_a_policy_of_ones_own() -> None:
    terms = Terms(tracks=TERMS.tracks, account_id=ACCOUNT, policy=RetryPolicy(give_up_at_receive=1))
    assert isinstance(
        run(message(build_job_message(JOB)), Ports(failures=[throttled()]), terms), Failed
    )
