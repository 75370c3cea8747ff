"""Kill the functions' processes at every step of their runs, and deliver again until done.

A round is one call: it is placed, its job is sent, and one or several runs of it are killed with
SIGKILL, each in its own process; the message becomes visible again, and at last a run is left
alive. A kill strikes right before a request is executed, right after it was executed and before
its answer, between a run's end and the deletion of its message, or after a random time. After every
kill the bucket is read and compared with what was said; see `Tally.must_be_zero`.

`python -m tests.faults.kill_campaign --kills 200 --seed 1` prints the counts, and exits with 1 if
one of those that must be zero is not.
"""

import argparse
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from local.behaviour import FragmentFault
from local.call import Call
from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, Function, FunctionError, build_sqs_record
from local.server import LocalAws, Step
from tests.faults.outcome import lies, read_bucket
from tests.integration.journey import (
    RESOURCES,
    SETTLES,
    WAV_HEADER_BYTES,
    Journey,
    agent,
    call,
    caller,
    deliver,
    environment,
    flow_environment,
    interleave,
)

type Scenario = Literal["parts", "one piece", "replacing", "flow"]

# Three parts of stereo, the second uploaded while the third is read; about a second of run.
SECONDS: dict[Scenario, float] = {"parts": 340, "one piece": 6, "replacing": 170, "flow": 6}
KILLS_A_ROUND = (3, 5)
MIX: tuple[Scenario, ...] = ("parts", "parts", "replacing", "parts", "one piece", "flow")
IDLE_WAIT_S = 10
PREPARED = 2


@dataclass(frozen=True, slots=True)
class Point:
    """Where a run is killed.

    Attributes:
        api: the request; "" for a random time, "DeleteMessage" for the end of the run.
        number: the how manieth of this api in the run.
        has_effect: whether the request is still executed.
    """

    api: str = ""
    number: int = 1
    has_effect: bool = False

    def __str__(self) -> str:
        """As it is printed."""
        return f"{'after' if self.has_effect else 'before'} {self.api} {self.number}"


RANDOM = Point()
UNDELETED = Point("DeleteMessage")


@cache
def said(scenario: Scenario) -> Call:
    """The scenario's call."""
    seconds = SECONDS[scenario]
    return call(customer=caller(seconds), to_customer=agent(seconds))


@cache
def frames(scenario: Scenario) -> bytes:
    """What its recording has to hold."""
    return interleave(caller(SECONDS[scenario]), agent(SECONDS[scenario]))


class Executioner:
    """A watcher of the local AWS that kills one function at one point of its run.

    Attributes:
        steps: what has been seen of the run.
        elapsed_s: from its first step to its last one.
    """

    def __init__(self) -> None:
        self.steps: list[Point] = []
        self.elapsed_s = 0.0
        self._started = 0.0
        self._lock = threading.Lock()
        self._function: Function | None = None
        self._point: Point | None = None
        self._delay_s = 0.0
        self._timer: threading.Timer | None = None
        self._numbers: Counter[Step] = Counter()
        self._underway = 0

    @contextmanager
    def watch(self, function: Function, point: Point | None, delay_s: float) -> Iterator[None]:
        """Aims at a run, for the time of a `with`."""
        with self._lock:
            self.steps = []
            self._numbers.clear()
            self._function, self._point, self._delay_s = function, point, delay_s
        try:
            yield
        finally:
            with self._lock:
                self._function = None
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None

    def __call__(self, step: Step) -> None:
        """Notes a step, and kills the run if it is time."""
        with self._lock:
            self._underway += -1 if step.has_effect else 1
            if self._function is None:
                return
            if not self.steps:
                self._started = time.monotonic()
                self._start_timer(self._function)
            self.elapsed_s = time.monotonic() - self._started
            self._numbers[step] += 1
            here = Point(step.api, self._numbers[step], step.has_effect)
            self.steps.append(here)
            if here != self._point:
                return
            self._function.kill()
            self._function = None
            if not step.has_effect:
                self._underway -= 1
                raise ConnectionAbortedError

    def _start_timer(self, function: Function) -> None:
        if self._point == RANDOM:
            self._timer = threading.Timer(self._delay_s, function.kill)
            self._timer.start()

    def wait_until_idle(self) -> None:
        """Until what a killed run had asked for is executed, or has failed."""
        until = time.monotonic() + IDLE_WAIT_S
        while self._underway > 0 and time.monotonic() < until:
            time.sleep(0.005)
        # A request whose body broke off was never done.
        self._underway = 0


class Functions:
    """Processes of one handler, each for one run; the next ones start beforehand."""

    def __init__(self, handler: str, variables: dict[str, str], log: Path) -> None:
        self._handler, self._variables, self._log = handler, variables, log
        self._prepared: deque[Function] = deque()

    def __enter__(self) -> Self:
        self._prepare()
        return self

    def __exit__(self, *_: object) -> None:
        for function in self._prepared:
            function.__exit__(None, None, None)

    @contextmanager
    def next(self) -> Iterator[Function]:
        """A fresh process."""
        function = self._prepared.popleft()
        self._prepare()
        try:
            yield function
        finally:
            function.__exit__(None, None, None)

    def _prepare(self) -> None:
        while len(self._prepared) < PREPARED:
            function = Function(self._handler, self._variables, self._log)
            self._prepared.append(function.__enter__())


@dataclass(slots=True)
class Tally:
    """What a campaign has counted."""

    kills: Counter[str] = field(default_factory=Counter)
    survived: int = 0
    rounds: Counter[str] = field(default_factory=Counter)
    unfinished_uploads: int = 0
    must_be_zero: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "manifests that lie about their recording, after a kill",
                "recordings that are not whole, after a kill",
                "third objects",
                "rounds that did not end",
                "rounds without exactly one recording and one manifest",
                "recordings that are not what was said",
                "messages lost, left, or in the failed-jobs queue",
            ),
            0,
        )
    )
    details: list[str] = field(default_factory=list)

    def count(self, name: str, happened: object, detail: str = "") -> None:
        """Counts one of those that must be zero."""
        if happened:
            self.must_be_zero[name] += 1
            self.details.append(f"{name}: {detail or happened}")

    @property
    def is_clean(self) -> bool:
        """Whether nothing happened that must not."""
        return not any(self.must_be_zero.values())

    def lines(self) -> Iterator[str]:
        """As it is printed."""
        yield f"{'killed':<58}{'kills':>6}"
        for name, number in sorted(self.kills.items()):
            yield f"  {name:<56}{number:>6}"
        yield f"  {'all':<56}{self.kills.total():>6}"
        yield ""
        for scenario, number in sorted(self.rounds.items()):
            yield f"{'rounds: ' + scenario:<58}{number:>6}"
        yield f"{'runs that had ended before their kill':<58}{self.survived:>6}"
        yield f"{'uploads left to the lifecycle rule':<58}{self.unfinished_uploads:>6}"
        yield ""
        yield "must be zero"
        for name, number in self.must_be_zero.items():
            yield f"  {name:<56}{number:>6}"
        yield from self.details


class Campaign:
    """Rounds of kills on one local AWS.

    Attributes:
        tally: what was counted.
    """

    def __init__(self, aws: LocalAws, archives: Functions, flows: Functions, seed: int) -> None:
        self.tally = Tally()
        self._aws = aws
        self._archives, self._flows = archives, flows
        self._random = random.Random(seed)  # noqa: S311 - a campaign that can be repeated
        self._executioner = Executioner()
        self._durations: dict[Scenario, float] = {}
        self._points: dict[Scenario, list[Point]] = {}
        with archives.next() as function:
            self._journey = Journey(aws, function)
        self._s3, self._sqs = self._journey.s3, self._journey.sqs
        self._queue_url = self._sqs.get_queue_url(QueueName=RESOURCES.queue)["QueueUrl"]
        aws.watcher = self._executioner

    def points(self, scenario: Scenario) -> list[Point]:
        """Every step of a run that is not killed, before and after its effect."""
        if scenario not in self._points:
            self._set_up(scenario)
            self._deliver(self._receive(), None)
            self._durations[scenario] = self._executioner.elapsed_s
            self._finish(scenario)
            self._points[scenario] = [*self._executioner.steps, UNDELETED]
        return self._points[scenario]

    def run(self, kills: int) -> None:
        """Rounds until this many processes were killed."""
        named = {
            scenario: itertools.cycle(self._shuffled(self.points(scenario)))
            for scenario in dict.fromkeys(MIX)
            if scenario != "flow"
        }
        for scenario in itertools.cycle(MIX):
            if self.tally.kills.total() >= kills:
                break
            if scenario == "flow":
                self.round_of_flow()
                continue
            points = [
                RANDOM if self._random.random() < 0.5 else next(named[scenario])
                for _ in range(self._random.randint(*KILLS_A_ROUND))
            ]
            self.round(scenario, points)

    def round(self, scenario: Scenario, points: Iterable[Point]) -> None:
        """One call whose runs are killed at these points, then one run that lives."""
        self._set_up(scenario)
        is_done = False
        for point in points:
            is_done = self._attempt(scenario, point)
            self._check(scenario)
            if is_done:
                break
        self._work_off(scenario, is_done=is_done)
        self._finish(scenario)

    def round_of_flow(self) -> None:
        """FlowFunction is killed around its message; Connect invokes it again."""
        self._place("flow")
        event = said("flow").flow_event("stopped")
        points = [Point("SendMessage"), Point("SendMessage", has_effect=True), RANDOM]
        for point in self._random.sample(points, 2):
            delay_s = self._random.uniform(0, 0.02)
            with self._flows.next() as function:
                try:
                    with self._executioner.watch(function, point, delay_s):
                        function.invoke(event)
                except FunctionError:
                    self._note_kill("flow", point)
                    self._executioner.wait_until_idle()
                else:
                    self.tally.survived += 1
        with self._flows.next() as function:
            answer = function.invoke(event)
        self.tally.count("rounds that did not end", answer["archiveStatus"] != "QUEUED")
        self._work_off("flow", is_done=False)
        self._finish("flow")

    def _shuffled(self, points: list[Point]) -> list[Point]:
        return self._random.sample(points, len(points))

    def _place(self, scenario: Scenario) -> None:
        self._aws.kvs.reset()
        self._journey.place(said(scenario))
        self.tally.rounds[scenario] += 1

    def _set_up(self, scenario: Scenario) -> None:
        """The call on its stream and its job in the queue; something worse in S3 where wanted."""
        self._place(scenario)
        one = said(scenario)
        if scenario == "replacing":
            fault = FragmentFault(one.fragments[3].number, kind="left_out", times=None)
            self._journey.behave(fragment_faults=(fault,))
            with self._archives.next() as function:
                deliver(function, one.archive_job(), SETTLES)
            self._journey.behave(fragment_faults=())
        self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=json.dumps(one.archive_job()))

    def _receive(self) -> Any:
        """The next message; None if there is none."""
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url, MessageSystemAttributeNames=["All"]
        )
        return next(iter(answer.get("Messages", [])), None)

    def _attempt(self, scenario: Scenario, point: Point | None) -> bool:
        """One delivery to a fresh process; whether the message is done with."""
        message = self._receive()
        if message is None:
            self.tally.count("messages lost, left, or in the failed-jobs queue", "lost", scenario)
            return True
        longest_s = self._durations.get(scenario, 1.0)
        is_done = self._deliver(message, point, self._random.uniform(0, longest_s))
        if is_done is None:
            self._note_kill(scenario, point or RANDOM)
            self._executioner.wait_until_idle()
        elif point not in (None, UNDELETED):
            self.tally.survived += 1
        if not is_done:
            # The visibility timeout, or the pause that the run has set, is over.
            self._sqs.change_message_visibility(
                QueueUrl=self._queue_url,
                ReceiptHandle=message["ReceiptHandle"],
                VisibilityTimeout=0,
            )
        return bool(is_done)

    def _deliver(self, message: Any, point: Point | None, delay_s: float = 0) -> bool | None:
        """Whether the message is done with, and so deleted; None if the run was killed."""
        event = {"Records": [build_sqs_record(message, self._queue_url, "eu-west-2")]}
        with self._archives.next() as function:
            try:
                with self._executioner.watch(function, point, delay_s):
                    answer = function.invoke(event)
            except FunctionError:
                return None
        if point == UNDELETED:
            return None
        if answer["batchItemFailures"]:
            return False
        self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
        return True

    def _note_kill(self, scenario: Scenario, point: Point) -> None:
        if point != RANDOM:
            where = str(point)
        elif self._executioner.steps:
            where = f"at random, {self._executioner.steps[-1]}".replace("before", "in")
        else:
            where = "at random, before the first request"
        name = f"{'FlowFunction' if scenario == 'flow' else scenario}: {where}"
        self.tally.kills[name] += 1

    def _work_off(self, scenario: Scenario, *, is_done: bool) -> None:
        """Deliveries without a kill, until the queue is empty."""
        for _ in range(10):
            if is_done and not self._waiting():
                return
            is_done = self._attempt(scenario, None)
        self.tally.count("rounds that did not end", "queue", scenario)

    def _waiting(self) -> int:
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self._queue_url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )["Attributes"]
        return sum(int(n) for name, n in attributes.items() if name.startswith("Approx"))

    def _check(self, scenario: Scenario) -> None:
        """The bucket right after a kill: nothing in it is half, and every manifest is true."""
        bucket, truth = read_bucket(self._s3), frames(scenario)
        found = lies(bucket, truth)
        if scenario == "replacing" and not any(m["complete"] for m in bucket.manifests.values()):
            # The earlier manifest says itself that its recording is partial.
            found = [lie for lie in found if lie.startswith(("third", "2"))]
            truth = b""
        self.tally.count(
            "manifests that lie about their recording, after a kill",
            [lie for lie in found if not lie.startswith("third")],
        )
        self.tally.count("third objects", bucket.others)
        for wav in bucket.recordings.values():
            half = wav[WAV_HEADER_BYTES:] != truth if truth else len(wav) < len(frames(scenario))
            self.tally.count("recordings that are not whole, after a kill", half, scenario)

    def _finish(self, scenario: Scenario) -> None:
        """The round's result; then the bucket is emptied."""
        bucket, truth = read_bucket(self._s3), frames(scenario)
        both = (len(bucket.recordings), len(bucket.manifests))
        self.tally.count(
            "rounds without exactly one recording and one manifest", both != (1, 1), f"{both}"
        )
        self.tally.count("recordings that are not what was said", lies(bucket, truth))
        self.tally.count("third objects", bucket.others)
        failed = self._journey.failed_jobs()
        left = self._waiting()
        self.tally.count("messages lost, left, or in the failed-jobs queue", failed or left)
        for key in (*bucket.recordings, *bucket.manifests, *bucket.others):
            self._s3.delete_object(Bucket=RESOURCES.bucket, Key=key)
        uploads = self._journey.uploads()
        self.tally.unfinished_uploads += len(uploads)
        for upload in uploads:
            self._s3.abort_multipart_upload(
                Bucket=RESOURCES.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )


@contextmanager
def open_campaign(aws: LocalAws, log: Path, seed: int) -> Iterator[Campaign]:
    """A campaign with its processes, for the time of a `with`."""
    with (
        Functions(ARCHIVE_HANDLER, environment(aws, "both"), log) as archives,
        Functions(FLOW_HANDLER, flow_environment(aws), log) as flows,
    ):
        try:
            yield Campaign(aws, archives, flows, seed)
        finally:
            aws.watcher = None


def main(arguments: list[str] | None = None) -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalAws() as aws,
        open_campaign(aws, Path(directory) / "functions.log", options.seed) as campaign,
    ):
        campaign.run(options.kills)
        tally = campaign.tally
    print("\n".join(tally.lines()))  # noqa: T201 - a command line prints
    print(f"\nseed {options.seed}, {time.monotonic() - started:.0f} s")  # noqa: T201 - a command line prints
    return 0 if tally.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
