"""`python -m bench.load`: calls that end at once, under the services' quotas; prints, may write."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.load.report import (
    render_describe,
    render_measured,
    render_model,
    render_processors,
    render_times,
    write_blocks,
)
from bench.load.run import Load, LoadResult, Trigger, run_load
from bench.load.settings import read_settings
from bench.machine import describe_machine

JOBS: Final = (1, 10, 100)
TRIGGERS: Final[tuple[Trigger, ...]] = ("flow", "contact")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every load, one after the other."""
    settings = read_settings()
    options = _build_parser(settings.maximum_concurrency).parse_args(arguments)
    # Bytecode is kept, as it is in a deployment package, whatever the user's shell prefers.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    machine = describe_machine(with_rivals=False)
    print(machine.render(), flush=True)
    results = []
    for trigger in TRIGGERS:
        for jobs in options.jobs:
            result = run_load(Load(trigger, jobs, min(jobs, options.workers)))
            print(f"\n{render_times([result]).render()}", flush=True)
            results.append(result)
    print(f"\n{render_times(results).render()}\n\n{render_processors(results).render()}")
    blocks = {
        "measured": render_measured(machine, results),
        "model": render_model(results, settings),
        "describe-contact": render_describe(settings),
    }
    if options.write is None:
        print("\n".join(f"\n{text}" for name, text in blocks.items() if name != "measured"))
    else:
        options.write.write_text(write_blocks(options.write.read_text(), blocks))
        print(f"\nwritten: {options.write}")
    return 0 if all(map(_is_whole, results)) else 1


def _is_whole(result: LoadResult) -> bool:
    return result.exact == result.load.jobs and not result.failed


def _build_parser(workers: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=JOBS, help="calls that end at once")
    parser.add_argument(
        "--workers", type=int, default=workers, help="ArchiveFunctions; the template's maximum"
    )
    parser.add_argument("--write", type=Path, help="document with the blocks, docs/capacity.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
