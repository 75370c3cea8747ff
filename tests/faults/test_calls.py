"""Calls that are refused, throttled or broken: what passes is waited for, what stays is said."""

from pathlib import Path
from typing import Any

import pytest

from local.behaviour import (
    Api,
    BodyFault,
    Breakage,
    CallFault,
    ConnectionFault,
    EndpointFault,
    FragmentFault,
)
from local.call import Call
from local.demo_call import STREAM_ARN
from tests.integration.journey import GIVES_UP, RESOURCES, SETTLES, Journey, call, caller
from tests.support.in_process import InProcessFunction

KVS_APIS: tuple[Api, ...] = ("GetDataEndpoint", "ListFragments", "GetMediaForFragmentList")


def on_a_stream_of_its_own(name: str, **options: Any) -> Call:
    """A call on a stream whose data endpoints the function has not asked for yet."""
    return call(stream_arn=STREAM_ARN.replace("-contact-", f"-contact-{name}-"), **options)


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize(
    ("kind", "stage"),
    [("reset", "start"), ("close", "start"), ("reset", "headers"), ("close", "headers")],
)
@pytest.mark.parametrize("api", KVS_APIS)
def test_connection_that_breaks_before_the_answer(
    mono: Journey, api: Api, kind: Breakage, stage: Any, times: int
) -> None:
    one = mono.place(on_a_stream_of_its_own(f"{api}-{kind}-{stage}-{times}"))
    mono.behave(connection_faults=(ConnectionFault(api, kind, stage, times),))
    done = [mono.archive(one, receives=receives) for receives in range(1, 6)]
    assert done[-1]
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True
    assert mono.failed_jobs() == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ConnectionFault("ListFragments", "reset", times=None), "KVS_UNREACHABLE"),
        (ConnectionFault("ListFragments", "close", "headers", None), "KVS_MALFORMED_ANSWER"),
        (ConnectionFault("GetDataEndpoint", "close", "headers", None), "KVS_MALFORMED_ANSWER"),
    ],
    ids=str,
)
def test_connection_that_always_breaks_is_said(
    mono: Journey, fault: ConnectionFault, code: str
) -> None:
    one = mono.place(on_a_stream_of_its_own(f"always-{fault.api}"))
    mono.behave(connection_faults=(fault,))
    assert not mono.archive(one)
    assert mono.archive(one, receives=GIVES_UP)
    assert mono.failure_codes() == [code]
    assert mono.keys() == []


@pytest.mark.parametrize("kind", ["end", "garbage", "flip", "reset", "close"])
@pytest.mark.parametrize("api", ["GetDataEndpoint", "ListFragments"])
def test_json_that_is_damaged_once(mono: Journey, api: Api, kind: Any) -> None:
    one = mono.place(on_a_stream_of_its_own(f"json-{api}-{kind}"))
    # The first byte, so that what is left is no JSON.
    mono.behave(body_faults=(BodyFault(0, kind, api=api),))
    done = [mono.archive(one, receives=receives) for receives in (1, 2)]
    assert done[-1]
    assert mono.pcm() == caller()


def test_json_that_is_always_damaged_is_said(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(body_faults=(BodyFault(30, api="ListFragments", times=None),))
    assert not mono.archive(one)
    assert mono.archive(one, receives=GIVES_UP)
    assert mono.failure_codes() == ["KVS_MALFORMED_ANSWER"]


@pytest.mark.parametrize("after_calls", [0, 1])
def test_data_endpoint_that_is_gone_is_asked_for_again(mono: Journey, after_calls: int) -> None:
    one = mono.place(on_a_stream_of_its_own(f"gone-{after_calls}"))
    fault = EndpointFault("gone", after_calls, times=1 + after_calls)
    mono.behave(endpoint_faults=(fault,))
    assert mono.archive(one)
    again = on_a_stream_of_its_own(
        f"gone-{after_calls}", start_ms=one.stop_timestamp_ms + 60_000, first_sequence=9001
    )
    mono.aws.place(again)
    assert mono.archive(again)
    assert mono.failed_jobs() == []
    assert len(mono.keys()) == 4


def test_data_endpoint_where_nobody_listens(mono: Journey) -> None:
    one = mono.place(on_a_stream_of_its_own("refused"))
    mono.behave(endpoint_faults=(EndpointFault("refused", times=2),))
    done = [mono.archive(one, receives=receives) for receives in (1, 2, 3)]
    assert done[-1]
    assert mono.pcm() == caller()


def test_data_endpoints_where_nobody_ever_listens_are_said(mono: Journey) -> None:
    one = mono.place(on_a_stream_of_its_own("never"))
    mono.behave(endpoint_faults=(EndpointFault("refused", times=None),))
    assert not mono.archive(one)
    assert mono.archive(one, receives=GIVES_UP)
    assert mono.failure_codes() == ["KVS_UNREACHABLE"]


def test_answer_that_never_comes(impatient: Journey) -> None:
    one = impatient.place(call())
    impatient.behave(connection_faults=(ConnectionFault("ListFragments", "stall"),))
    assert impatient.archive(one)
    assert impatient.pcm() == caller()


@pytest.mark.parametrize(
    "fault",
    [
        CallFault("ListFragments", "ClientLimitExceededException", 400, times=2),
        CallFault("ListFragments", "InternalFailure", 500, times=2),
        CallFault("GetDataEndpoint", "ClientLimitExceededException", 400, times=1),
        CallFault("GetMediaForFragmentList", "ClientLimitExceededException", 400, times=2),
        CallFault("GetMediaForFragmentList", "InternalFailure", 500, times=3),
    ],
    ids=lambda fault: f"{fault.api}-{fault.error_type}",
)
def test_throttling_and_server_errors_pass(mono: Journey, fault: CallFault) -> None:
    one = mono.place(call())
    mono.behave(call_faults=(fault,))
    done = [mono.archive(one, receives=receives) for receives in (1, 2, 3)]
    assert done[-1]
    assert mono.pcm() == caller()


@pytest.mark.parametrize(
    ("error_type", "status"),
    [("NotAuthorizedException", 401), ("ResourceNotFoundException", 404)],
)
def test_refusal_that_nothing_mends_goes_to_the_failed_jobs_queue(
    mono: Journey, error_type: str, status: int
) -> None:
    one = mono.place(call())
    mono.behave(call_faults=(CallFault("ListFragments", error_type, status, times=None),))
    assert mono.archive(one)
    (failed,) = mono.failed_jobs()
    assert failed["code"] == f"KVS_{error_type}"
    assert failed["body"] == one.archive_job()


def test_media_endpoint_that_is_down_is_left_in_time(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(
        call_faults=(CallFault("GetMediaForFragmentList", "InternalFailure", 500, times=None),)
    )
    assert not mono.archive(one)
    assert isinstance(mono.function, InProcessFunction)
    assert mono.function.clock.seconds < 40


def test_failed_runs_leave_no_thread_and_no_connection(mono_process: Journey) -> None:
    one = mono_process.place(call())
    mono_process.behave(
        fragment_faults=(FragmentFault(one.fragments[2].number, kind="left_out", times=None),)
    )
    assert not mono_process.archive(one)
    threads = len(list(Path(f"/proc/{mono_process.function.process_id}/task").iterdir()))
    for _ in range(3):
        assert not mono_process.archive(one)
    after = len(list(Path(f"/proc/{mono_process.function.process_id}/task").iterdir()))
    assert after == threads


def test_quota_that_another_run_uses_up_is_waited_for(mono: Journey) -> None:
    """More often than anything else is tried: it says nothing of the fragments."""
    one = mono.place(call())
    refused = CallFault("GetMediaForFragmentList", "ClientLimitExceededException", 400, times=7)
    mono.behave(call_faults=(refused,))
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_refused_data_endpoint_does_not_end_a_run_that_settles(mono: Journey) -> None:
    one = mono.place(call())
    assert mono.archive(one)  # its data endpoints are known
    written = mono.keys()
    for key in written:
        mono.s3.delete_object(Bucket=RESOURCES.bucket, Key=key)
    failed = CallFault("GetMediaForFragmentList", "InternalFailure", 500, times=3)
    refused = CallFault("GetDataEndpoint", "ClientLimitExceededException", 400, times=2)
    mono.behave(call_faults=(failed, refused))
    assert mono.archive(one, receives=SETTLES)
    assert mono.pcm() == caller()
