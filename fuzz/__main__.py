"""`python -m fuzz --seconds 60 [--target NAME]`: runs each target for its share.

Writes a finding's input to .fuzz/findings/TARGET/ and exits with 1 if there is any.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fuzz.seeds import build_seeds
from fuzz.targets import CORPUS, JSON, MATROSKA, TARGETS

ROOT = Path(__file__).parent.parent
WORK = ROOT / ".fuzz"
SECONDS_PER_INPUT = 10
MOST_MIB = 512
"""What ArchiveFunction has, with the fuzzer inside it."""
LONGEST_INPUT = 16_384


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one target's run printed."""

    target: str
    executions: int
    edges: int
    features: int
    inputs: int
    findings: tuple[Path, ...]
    has_failed: bool

    def __str__(self) -> str:
        found = ", ".join(str(path.relative_to(ROOT)) for path in self.findings) or "-"
        return (
            f"{self.target:<10}{self.executions:>12,}{self.edges:>8}{self.features:>10}"
            f"{self.inputs:>8}  {'FAILED ' if self.has_failed else ''}{found}"
        )


def main() -> int:
    """Runs the requested targets; 1 if there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", choices=[*TARGETS], help="only this one")
    parser.add_argument("--minimize", action="store_true", help="only shrink the working corpus")
    options = parser.parse_args()
    names = [options.target] if options.target else [*TARGETS]
    share = max(1, options.seconds // len(names))
    print(f"{'target':<10}{'executions':>12}{'edges':>8}{'features':>10}{'inputs':>8}  findings")
    outcomes = []
    for name in names:
        outcomes.append(_minimize(name) if options.minimize else _fuzz(name, share))
        print(outcomes[-1], flush=True)
    return int(any(outcome.has_failed for outcome in outcomes))


def _fuzz(target: str, seconds: int) -> Outcome:
    """Runs one target, beginning with the interesting inputs of earlier runs."""
    corpus, findings = _directory("corpus", target), _directory("findings", target)
    seeds = _directory("seeds", target)
    for name, seed in build_seeds(target).items():
        (seeds / name).write_bytes(seed)
    before = {*findings.iterdir()}
    result = _run(
        target,
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={MOST_MIB}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={findings}/",
        *(f"-dict={path}" for path in _dictionary(target)),
        *(str(path) for path in (corpus, seeds, CORPUS / target) if path.is_dir()),
    )
    found = tuple(sorted({*findings.iterdir()} - before))
    if result.returncode:
        sys.stderr.write(f"{result.stdout}\n{result.stderr[-2_000:]}")
    return _outcome(target, result, found)


def _minimize(target: str) -> Outcome:
    """Keeps of the working corpus only what adds coverage."""
    corpus, shrunk = _directory("corpus", target), _directory("shrunk", target)
    result = _run(target, "-merge=1", str(shrunk), str(corpus))
    return _outcome(target, result, ())


def _run(target: str, *flags: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    return subprocess.run(
        [
            str(WORK / "venv/bin/python"),
            "-m",
            "fuzz.engine",
            target,
            "-print_final_stats=1",
            *flags,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _outcome(
    target: str, result: subprocess.CompletedProcess[str], findings: tuple[Path, ...]
) -> Outcome:
    """Reads the last of libFuzzer's status lines: `#123 DONE cov: 4 ft: 5 corp: 6/7b`."""
    lines = re.findall(
        r"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/", result.stderr, re.MULTILINE
    )
    executions, edges, features, inputs = map(int, lines[-1] if lines else (0, 0, 0, 0))
    return Outcome(
        target, executions, edges, features, inputs, findings, bool(result.returncode or findings)
    )


def _dictionary(target: str) -> list[Path]:
    name = "ebml" if target in MATROSKA else "json" if target in JSON else ""
    return [Path(__file__).parent / f"{name}.dict"] if name else []


def _directory(kind: str, target: str) -> Path:
    path = WORK / kind / target
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    sys.exit(main())
