"""`LiveStream` alone: what it asks for after calls that bring nothing, and when it gives up."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from call_archive.errors import StreamFaultError
from call_archive_cli.live import LiveSource, LiveStream, StreamIsQuietError, TimeLimitError
from local.demo_call import STREAM_ARN

DATE = {"date": "Wed, 25 Nov 2026 12:00:00 GMT"}
ASKED = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Quiet:
    """KVS, time and a body in which nothing comes for `body_s`."""

    def __init__(self, body_s: float = 1.0, *, failures: int = 0, answers: bool = True) -> None:
        self.now_s = 100.0
        self.asked: list[Any] = []
        self.timeouts: list[float] = []
        self._body_s = body_s
        self._failures = failures
        self._answers = answers

    def open(self, read_timeout_s: float) -> Any:
        self.timeouts.append(read_timeout_s)
        return self

    def get_media(self, *, StreamARN: str, StartSelector: Any) -> Any:  # noqa: N803 - boto3's
        self.asked.append(StartSelector)
        if len(self.asked) <= self._failures:
            if not self._answers:
                raise EndpointConnectionError(endpoint_url="http://kvs")
            metadata: Any = {"HTTPHeaders": DATE}
            error: Any = {"Error": {"Code": "ClientLimitExceededException"}}
            raise ClientError(error | {"ResponseMetadata": metadata}, "GetMedia")
        return {"Payload": self, "ResponseMetadata": {"HTTPHeaders": DATE}}

    @property
    def _raw_stream(self) -> Any:
        return self

    def read1(self, size: int) -> bytes:
        self.now_s += self._body_s
        return b""

    def close(self) -> None:
        pass

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def stream(self, idle_s: float = 60.0, limit_s: float | None = None) -> LiveStream:
        return LiveStream(
            LiveSource(
                STREAM_ARN,
                open_client=self.open,
                fetch_fragment=_never,
                idle_s=idle_s,
                limit_s=limit_s,
                sleep=self.sleep,
                clock=lambda: self.now_s,
            )
        )


def _never(number: int) -> NoReturn:
    raise AssertionError(number)


def end(stream: LiveStream, kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        list(stream.follow({"StartSelectorType": "NOW"}))


def test_now_is_when_it_was_asked_for_the_first_time() -> None:
    quiet = Quiet()
    end(quiet.stream(), StreamIsQuietError)
    first, *others = quiet.asked
    assert first == {"StartSelectorType": "NOW"}
    assert others
    assert all(
        other == {"StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": ASKED}
        for other in others
    )


def test_now_is_known_from_a_refusal_too() -> None:
    quiet = Quiet(failures=2)
    end(quiet.stream(), StreamIsQuietError)
    assert quiet.asked[1] == {"StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": ASKED}


def test_first_answer_tells_the_time_of_a_call_without_one() -> None:
    quiet = Quiet(failures=2, answers=False)
    end(quiet.stream(), StreamIsQuietError)
    assert [each["StartSelectorType"] for each in quiet.asked[:4]] == [
        "NOW",
        "NOW",
        "NOW",
        "SERVER_TIMESTAMP",
    ]
    # Half a second and a second between them.
    assert (ASKED - quiet.asked[3]["StartTimestamp"]).total_seconds() == 1.5


@pytest.mark.parametrize("idle_s", [60.0, 300.0])
@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (lambda: Quiet(0.0), StreamIsQuietError),
        (lambda: Quiet(failures=1000), StreamFaultError),
        (lambda: Quiet(failures=1000, answers=False), StreamFaultError),
    ],
    ids=["bodies without news", "refused", "without an answer"],
)
def test_it_waits_for_as_long_as_somebody_wants(
    build: Callable[[], Quiet], kind: type[BaseException], idle_s: float
) -> None:
    quiet = build()
    end(quiet.stream(idle_s), kind)
    assert quiet.now_s == pytest.approx(100.0 + idle_s)


def test_limit_ends_it_before_that() -> None:
    quiet = Quiet(0.0)
    end(quiet.stream(300.0, limit_s=7.0), TimeLimitError)
    assert quiet.now_s == pytest.approx(107.0)
    assert quiet.timeouts[0] == 7.0
