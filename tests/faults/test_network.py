"""Each kind of fault once as the deployed function meets it: in a process, over HTTP.

What a fault does to a recording, case by case, is in the other modules, without a network.
"""

from typing import Any

import pytest

from local.behaviour import Api, BodyFault, Breakage, CallFault, ConnectionFault, PageFault
from local.call import Call
from local.demo_call import STREAM_ARN
from local.moto_faults import Answer, MotoFault, Operation
from tests.integration.journey import Journey, call, caller


def on_a_stream_of_its_own(name: str) -> Call:
    """A call on a stream whose data endpoints the function has not asked for yet."""
    return call(stream_arn=STREAM_ARN.replace("-contact-", f"-contact-network-{name}-"))


@pytest.mark.parametrize(("kind", "stage"), [("reset", "start"), ("close", "headers")])
@pytest.mark.parametrize("api", ["GetDataEndpoint", "ListFragments", "GetMediaForFragmentList"])
def test_connection_that_breaks(
    mono_process: Journey, api: Api, kind: Breakage, stage: Any
) -> None:
    one = mono_process.place(on_a_stream_of_its_own(f"{api}-{kind}"))
    mono_process.behave(connection_faults=(ConnectionFault(api, kind, stage, 1),))
    done = [mono_process.archive(one, receives=receives) for receives in (1, 2, 3)]
    assert done[-1]
    assert mono_process.pcm() == caller()
    assert mono_process.manifest()["complete"] is True


@pytest.mark.parametrize("requests", [1, 2, 3])
def test_kept_connection_that_is_reset_when_it_is_used_again(
    mono_process: Journey, requests: int
) -> None:
    one = mono_process.place(call())
    mono_process.behave(requests_per_connection=requests)
    done = [mono_process.archive(one, receives=receives) for receives in (1, 2, 3)]
    assert done[-1]
    assert mono_process.pcm() == caller()


@pytest.mark.parametrize("kind", ["end", "reset", "close", "garbage"])
def test_body_that_goes_wrong(mono_process: Journey, kind: Any) -> None:
    one = mono_process.place(call())
    mono_process.behave(body_faults=(BodyFault(40_000, kind),))
    assert mono_process.archive(one)
    assert mono_process.pcm() == caller()


@pytest.mark.parametrize(
    "changes",
    [
        {"call_faults": (CallFault("ListFragments", times=1),)},
        {"page_limit": 3, "page_faults": (PageFault("repeated", 1),)},
        {"call_faults": (CallFault("GetMediaForFragmentList", "InternalFailure", 500),)},
    ],
    ids=["throttled", "page twice", "server error"],
)
def test_call_that_is_refused_or_answered_twice(
    mono_process: Journey, changes: dict[str, Any]
) -> None:
    one = mono_process.place(call())
    mono_process.behave(**changes)
    done = [mono_process.archive(one, receives=receives) for receives in (1, 2)]
    assert done[-1]
    assert mono_process.pcm() == caller()


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("PutObject", "InternalError"),
        ("PutObject", "SlowDown"),
        ("PutObject", "reset"),
        ("HeadObject", "InternalError"),
    ],
)
def test_trouble_with_s3(mono_process: Journey, operation: Operation, answer: Answer) -> None:
    one = mono_process.place(call())
    mono_process.aws.moto_faults = (MotoFault(operation, answer),)
    done = [mono_process.archive(one, receives=receives) for receives in (1, 2)]
    mono_process.aws.moto_faults = ()
    assert done[-1]
    assert mono_process.pcm() == caller()
    assert mono_process.uploads() == []
