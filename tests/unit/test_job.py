"""ArchiveJob: the message, its checks, and the keys that follow from it."""

from dataclasses import replace
from typing import Any

import pytest

from call_archive.errors import RequestError
from call_archive.fields import (
    account_of,
    check_instance,
    decode_instance_arn,
    instance_id_of,
    region_of,
)
from call_archive.job import ArchiveJob, build_job_message, decode_job
from call_archive.keys import manifest_key, recording_key
from local.demo_call import demo_calls
from tests.support.arns import INSTANCE_ARN

START_MS = 1_640_995_199_999  # 2021-12-31T23:59:59.999Z
MESSAGE: dict[str, Any] = {
    "kind": "ArchiveJob",
    "version": 1,
    "contactId": "c-1",
    "initialContactId": "c-0",
    "instanceArn": INSTANCE_ARN,
    "streamArn": "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/x-connect-y-contact-z/164016",
    "startFragmentNumber": "91343852333181452199722691208580038832309429352",
    "startTimestamp": START_MS,
    "stopFragmentNumber": "91343852333181452269047333408561337752981163966",
    "stopTimestamp": START_MS + 14_389,
    "requestedAt": START_MS + 15_000,
}
JOB = ArchiveJob(
    contact_id="c-1",
    initial_contact_id="c-0",
    instance_arn=INSTANCE_ARN,
    stream_arn="arn:aws:kinesisvideo:eu-west-2:123456789012:stream/x-connect-y-contact-z/164016",
    start_fragment_number=91343852333181452199722691208580038832309429352,
    start_timestamp_ms=START_MS,
    stop_fragment_number=91343852333181452269047333408561337752981163966,
    stop_timestamp_ms=START_MS + 14_389,
    requested_at_ms=START_MS + 15_000,
)


def test_the_message_becomes_the_job() -> None:
    assert decode_job(MESSAGE) == JOB


def test_the_job_becomes_the_message() -> None:
    assert build_job_message(JOB) == MESSAGE


@pytest.mark.parametrize("absent", [None, "", "missing"])
def test_what_connect_did_not_say_stays_unknown(absent: str | None) -> None:
    message = {**MESSAGE, "stopFragmentNumber": absent, "stopTimestamp": absent}
    if absent == "missing":
        del message["stopFragmentNumber"], message["stopTimestamp"]
    job = decode_job(message)
    assert job == replace(JOB, stop_fragment_number=None, stop_timestamp_ms=None)
    assert {"stopFragmentNumber", "stopTimestamp"}.isdisjoint(build_job_message(job))


def test_the_first_contact_of_a_chain_is_its_own_initial_contact() -> None:
    message = {key: value for key, value in MESSAGE.items() if key != "initialContactId"}
    assert decode_job(message).initial_contact_id == "c-1"
    assert decode_job(message).contact_ids == {"c-1"}


def test_the_simulator_and_the_job_agree() -> None:
    _, call, _ = demo_calls()
    job = decode_job(call.archive_job())
    assert job.contact_id == call.contact_id
    assert job.start_fragment_number == call.start_fragment_number
    assert build_job_message(job) == call.archive_job()


MALFORMED: list[tuple[str, list[Any]]] = [
    ("kind", [None, "", "Job", 1]),
    ("version", [None, 0, 2, "1"]),
    ("contactId", [None, "", "a/b", "../x", "a b", "a\n", "é", "-a", "a" * 257, 5, ["c"]]),
    ("initialContactId", ["a/b", "a\n", 5]),
    (
        "instanceArn",
        [
            None,
            "",
            "i-1",
            "arn:aws:connect:eu-west-2:12345:instance/i-1",
            INSTANCE_ARN + "/contact/1",
            INSTANCE_ARN + "\n",
        ],
    ),
    (
        "streamArn",
        [
            None,
            "",
            "arn:aws:kinesisvideo::eu-west-2:123456789012:stream/x/1",
            "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/x",
            "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/x/y/1",
            "arn:aws:kinesis:eu-west-2:123456789012:stream/x/1",
            "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/x/1 ",
        ],
    ),
    ("startFragmentNumber", [None, "", "0", "-1", "1.0", "0x1", " 1", "1\n", "٣", "9" * 129, 100]),
    ("stopFragmentNumber", ["0", "x", 100, "9" * 129, True]),
    ("startTimestamp", [None, "", "soon", "1e12", -1, 0, 1_000, 10**13, "9" * 17, True, 1.5e12]),
    ("stopTimestamp", ["soon", 1_000, True, [], {}]),
    ("requestedAt", [None, "", 0, 10**15]),
]


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in MALFORMED for value in values]
)
def test_malformed_messages_are_refused(key: str, value: object) -> None:
    with pytest.raises(RequestError) as caught:
        decode_job({**MESSAGE, key: value})
    assert not caught.value.retryable


def test_timestamps_may_be_strings_of_digits() -> None:
    assert decode_job({**MESSAGE, "startTimestamp": str(START_MS)}) == JOB


def test_short_fragment_numbers_are_numbers() -> None:
    message = {**MESSAGE, "startFragmentNumber": "99", "stopFragmentNumber": "100"}
    assert decode_job(message).stop_fragment_number == 100


HOUR_MS = 3_600_000
CONTRADICTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    # As strings, "99" is greater than "100".
    "stop_fragment_first": (
        "REVERSED_RANGE",
        {"startFragmentNumber": "100", "stopFragmentNumber": "99"},
    ),
    "stop_time_first": ("REVERSED_RANGE", {"stopTimestamp": START_MS - 1}),
    "longer_than_a_contact": ("CALL_TOO_LONG", {"stopTimestamp": START_MS + 25 * HOUR_MS + 1}),
    "requested_before_the_start": (
        "REVERSED_RANGE",
        {"stopTimestamp": None, "requestedAt": START_MS - HOUR_MS},
    ),
    "stream_of_another_account": (
        "FOREIGN_STREAM",
        {"streamArn": "arn:aws:kinesisvideo:eu-west-2:210987654321:stream/x/1"},
    ),
    "stream_of_another_region": (
        "FOREIGN_STREAM",
        {"streamArn": "arn:aws:kinesisvideo:us-east-1:123456789012:stream/x/1"},
    ),
    "stream_of_another_partition": (
        "FOREIGN_STREAM",
        {"streamArn": "arn:aws-cn:kinesisvideo:eu-west-2:123456789012:stream/x/1"},
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_jobs_that_contradict_themselves_are_refused(name: str) -> None:
    code, change = CONTRADICTIONS[name]
    with pytest.raises(RequestError) as caught:
        decode_job({**MESSAGE, **change})
    assert caught.value.code == code


def test_start_and_stop_may_be_the_same() -> None:
    job = decode_job(
        {
            **MESSAGE,
            "stopFragmentNumber": MESSAGE["startFragmentNumber"],
            "stopTimestamp": START_MS,
        }
    )
    assert job.start_fragment_number == job.stop_fragment_number


def test_a_contact_may_last_a_day() -> None:
    message = {**MESSAGE, "stopTimestamp": START_MS + 24 * HOUR_MS}
    assert decode_job(message).end_bound_ms == START_MS + 24 * HOUR_MS


def test_the_end_is_the_stop_or_else_the_request() -> None:
    assert JOB.end_bound_ms == START_MS + 14_389
    assert replace(JOB, stop_timestamp_ms=None).end_bound_ms == START_MS + 15_000


def test_without_a_stop_the_range_is_no_longer_than_a_contact() -> None:
    """A contact record that comes a month late does not ask for a month of the stream."""
    late = replace(JOB, stop_timestamp_ms=None, requested_at_ms=START_MS + 720 * HOUR_MS)
    assert late.end_bound_ms <= START_MS + 25 * HOUR_MS


def test_keys_carry_the_date_of_the_start_in_utc() -> None:
    tail = "year=2021/month=12/day=31/c-1/91343852333181452199722691208580038832309429352"
    assert recording_key("", JOB) == f"recordings/{tail}.wav"
    assert manifest_key("calls/", JOB) == f"calls/manifests/{tail}.json"


def test_equal_jobs_have_equal_keys() -> None:
    """Other triggers know the same contact with less precision, and at another time."""
    same = decode_job(
        {
            **MESSAGE,
            "startFragmentNumber": "0" + MESSAGE["startFragmentNumber"],
            "startTimestamp": START_MS - 999,
            "stopFragmentNumber": None,
            "requestedAt": START_MS + 99_000,
        }
    )
    assert recording_key("p/", same) == recording_key("p/", JOB)


@pytest.mark.parametrize(
    "arn", ["arn:aws::connect:eu-west-2:123456789012:instance/i-1", INSTANCE_ARN]
)
def test_the_doubled_colon_of_documentation_samples_is_mended(arn: str) -> None:
    assert decode_instance_arn(arn) == INSTANCE_ARN


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws-cn:connect:cn-north-1:123456789012:instance/i-1",
        "arn:aws-us-gov:connect:us-gov-west-1:123456789012:instance/i-1",
    ],
)
def test_arns_of_other_partitions(arn: str) -> None:
    assert decode_instance_arn(arn) == arn
    assert instance_id_of(arn) == "i-1"


def test_parts_of_arns() -> None:
    assert account_of(JOB.stream_arn) == "123456789012"
    assert region_of(JOB.stream_arn) == "eu-west-2"


@pytest.mark.parametrize(
    ("allowed", "account", "served"),
    [
        (INSTANCE_ARN, "123456789012", True),
        (INSTANCE_ARN, "", True),
        (INSTANCE_ARN + "0", "123456789012", False),
        (INSTANCE_ARN[:-1], "123456789012", False),
        ("", "123456789012", True),
        ("", "210987654321", False),
        ("", "", True),
    ],
)
def test_which_instances_are_served(allowed: str, account: str, served: bool) -> None:
    if served:
        check_instance(INSTANCE_ARN, allowed, account)
        return
    with pytest.raises(RequestError) as caught:
        check_instance(INSTANCE_ARN, allowed, account)
    assert caught.value.code == "FOREIGN_INSTANCE"
