"""Commands → samples of wall time, CPU and peak memory, round by round, and what they amount to.

A ratio is taken within a round, where both processes met the same machine; the median of the
rounds' ratios is reported, not the ratio of the medians.
"""

import marshal
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parent.parent
WORK: Final = ROOT / ".bench"
MIB: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Sample:
    """One process: seconds, seconds of CPU (user and system), bytes at its peak."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


type Metric = Callable[[Sample], float]


def wall(sample: Sample) -> float:
    """The time that a process took."""
    return sample.wall_s


def cpu(sample: Sample) -> float:
    """The CPU time that a process took."""
    return sample.cpu_s


def peak(sample: Sample) -> float:
    """The most memory that a process had."""
    return sample.peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command that is measured.

    Attributes:
        output: what it writes; removed before each run.
        turns: how often it runs in a round, in turn with the others; the median counts.
        exit_code: how it ends when all is well.
        check: checks a finished run, and raises if it did not do its work.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    output: Path | None = None
    turns: int = 1
    exit_code: int = 0
    check: Callable[[Path], None] | None = None

    @property
    def log(self) -> Path:
        """What the process printed."""
        return WORK / "logs" / f"{self.name.replace(' ', '-').replace('/', '-')}.log"


class Launcher:
    """The process that starts the measured ones, for the time of a `with`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(ROOT / "bench" / "launch.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _, _ = self._process.communicate()

    def measure(self, case: Case) -> Sample:
        """Runs a case once.

        Raises:
            RuntimeError: it ended otherwise than it should.
        """
        case.log.parent.mkdir(parents=True, exist_ok=True)
        if case.output is not None:
            case.output.unlink(missing_ok=True)
        request = (list(case.command), base_environment() | dict(case.environment), str(case.log))
        code, wall_s, cpu_s, peak_kib = self._ask(request)
        if code != case.exit_code:
            raise RuntimeError(f"{case.name} ended with {code}; see {case.log}")
        if case.check is not None:
            case.check(case.log)
        return Sample(wall_s, cpu_s, peak_kib * 1024)

    def _ask(self, request: tuple[list[str], dict[str, str], str]) -> tuple[int, float, float, int]:
        to_launcher, from_launcher = self._process.stdin, self._process.stdout
        if to_launcher is None or from_launcher is None:
            raise RuntimeError("the launcher has no pipes")
        to_launcher.write(marshal.dumps(request))
        to_launcher.flush()
        answer: Any = marshal.load(from_launcher)  # noqa: S302 - our own process
        code, wall_s, cpu_s, peak_kib = answer
        return code, wall_s, cpu_s, peak_kib


def base_environment() -> dict[str, str]:
    """What every measured process is given: nothing of the user's but PATH; bytecode is kept."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(WORK)}


def python(*arguments: str) -> tuple[str, ...]:
    """A command of this environment's interpreter."""
    return (sys.executable, *arguments)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest and highest of a series."""

    median: float
    low: float
    high: float

    def show(self, decimals: int = 2, scale: float = 1) -> str:
        """`0.52 (0.50-0.61)`."""
        values = (self.median / scale, self.low / scale, self.high / scale)
        middle, low, high = (f"{value:.{decimals}f}" for value in values)
        return f"{middle} ({low}–{high})"


def spread(values: Iterable[float]) -> Spread:
    """What a series amounts to."""
    series = list(values)
    return Spread(median(series), min(series), max(series))


@dataclass(frozen=True, slots=True)
class Rounds:
    """Samples by case, one a round; index n of every case is the same round."""

    samples: Mapping[str, Sequence[Sample]]

    def spread(self, name: str, metric: Metric) -> Spread:
        """A case over all rounds."""
        return spread(map(metric, self.samples[name]))

    def ratio(self, name: str, reference: str, metric: Metric) -> Spread:
        """How many times a case takes what the reference took in the same round."""
        pairs = zip(self.samples[name], self.samples[reference], strict=True)
        return spread(metric(sample) / metric(of) for sample, of in pairs)


def run_rounds(launcher: Launcher, cases: Sequence[Case], rounds: int) -> Rounds:
    """Measures all cases in turn, again and again; a round before the first is not counted."""
    measured = [_run_round(launcher, cases) for _ in range(rounds + 1)][1:]
    return Rounds({case.name: [samples[case.name] for samples in measured] for case in cases})


def _run_round(launcher: Launcher, cases: Sequence[Case]) -> Mapping[str, Sample]:
    samples: dict[str, list[Sample]] = {case.name: [] for case in cases}
    most = max(case.turns for case in cases)
    for turn in range(most):
        for case in cases:
            # Those of fewer turns take theirs evenly over the round.
            if turn * case.turns % most < case.turns:
                samples[case.name].append(launcher.measure(case))
    return {name: _combine(of) for name, of in samples.items()}


def _combine(samples: Sequence[Sample]) -> Sample:
    return Sample(
        median(map(wall, samples)),
        median(map(cpu, samples)),
        max(sample.peak_bytes for sample in samples),
    )
