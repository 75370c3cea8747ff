"""What 1,000 calls cost: requests counted on the local AWS, and list prices → docs/costs.md.

`python -m bench.bill` prints it, `--write docs/costs.md` keeps it. Prices, the shape of the calls
and what cannot be measured here (Lambda's pace) are assumptions, and are listed in the document.
"""

import argparse
import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import boto3

from bench.prices import PRICES, PRICES_OF, price
from bench.report import Table
from local.call import Call, simulate_call
from local.demo_call import CONTACT_ID, INSTANCE_ARN, START_MS, STREAM_ARN
from local.pcm import synthetic_pcm
from local.resources import Resources, build_environment, create_resources
from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, EventSource, Function
from local.server import LocalAws

CALLS: Final = 1000
MINUTES: Final = 5
RETENTION_HOURS: Final = 24
GB: Final = 1e9
TEMPLATE: Final = Path(__file__).parents[1] / "template.yaml"
HOURS_A_MONTH: Final = 730

ARCHIVE_S: Final = 0.98
"""Of ArchiveFunction, one call of 5 minutes at 256 MB: benchmarks.md, "Dollars for 1,000 calls"."""
ARCHIVE_GB: Final = 256 / 1024
FLOW_S: Final = 0.05
"""Assumed for a warm FlowFunction."""
FLOW_GB: Final = 512 / 1024
LAMBDA_LOG_BYTES: Final = 1500
"""Assumed: what Lambda itself logs of each invocation (start and report, as JSON)."""
IDLE_RECEIVES_A_MONTH: Final = 5 * 3 * 60 * HOURS_A_MONTH
"""An event source polls an empty queue with at least 5 receives at a time, each of 20 s."""

_TEXT: Final = """\
# Costs

Written by `python -m bench.bill --write docs/costs.md`; a test compares it. {calls:,} calls of
{minutes} minutes, mono, one recording each, both directions on the stream. Every flow invokes
FlowFunction twice, and the hang-up's event arrives as well, and finds the call archived.

Prices are the public list's, {prices_of}, without free tiers, savings plans and taxes:
**assumptions: replace them with your own** in `bench/prices.py`. Counted on the local AWS
are requests, bytes and log lines; Lambda's durations are the estimate of
[benchmarks.md](benchmarks.md), "Dollars for 1,000 calls", and for FlowFunction an assumption."""

_AFTER: Final = """\
## What is not in it

* Amazon Connect itself. DescribeContact costs nothing.
* KMS: with the bucket's key enabled (it is, with `ArchiveKmsKeyArn`) S3 asks KMS rarely; 0.03 USD
  for 10,000 requests.
* Athena: 5 USD a TB of manifests read, at least 10 MB a query. The table and the saved queries
  cost nothing.
* The alarms' topic and its key (1 USD a month), with `AlarmEmail`; S3 requests and transfer of the
  readers.
* Contact records as a trigger: EventBridge Pipes, 0.40 USD a million requests, and the Kinesis
  data stream.

What Kinesis Video Streams ingests and keeps is paid for live media streaming, with or without an
archive. Stereo doubles a recording's bytes (storage), not what is fetched. A call that needs
retries repeats Lambda, SQS and KVS for each.

Storage is what grows: {year:.2f} USD for the {calls:,} calls when they have been kept for a year,
at the monthly rate of S3 Standard; lifecycle rules and `RetentionDays` bound it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call takes.

    Attributes:
        requests: by API, over the whole journey.
        stream_bytes: of the fragments that are fetched.
        stored_bytes: of both objects.
        log_bytes: what the functions print.
    """

    requests: Mapping[str, int]
    stream_bytes: int
    stored_bytes: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the bill: a quantity for a thousand calls, how it comes about, and its price."""

    what: str
    arithmetic: str
    quantity: float
    price: str

    @property
    def usd(self) -> float:
        """The amount."""
        return self.quantity * price(self.price)


def measure_call() -> Usage:
    """Sends one call through both functions, as processes, and counts."""
    call = simulate_call(
        synthetic_pcm(MINUTES * 60, seed=1),
        synthetic_pcm(MINUTES * 60, seed=2),
        contact_id=CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
    )
    with LocalAws() as aws, tempfile.TemporaryDirectory() as folder:
        aws.reset()  # moto keeps what another local AWS of this process has made
        return _run(aws, call, Path(folder))


def _run(aws: LocalAws, call: Call, folder: Path) -> Usage:
    resources = Resources()
    create_resources(aws.endpoint_url, resources)
    aws.place(call)
    variables = build_environment(aws.endpoint_url, resources)
    queue_url = variables["FlowFunction"]["ARCHIVE_QUEUE_URL"]
    sqs = boto3.client("sqs", **aws.client_options)
    before = aws.requests
    with (
        Function(FLOW_HANDLER, variables["FlowFunction"], folder / "flow") as flow,
        Function(ARCHIVE_HANDLER, variables["ArchiveFunction"], folder / "archive") as archive,
    ):
        flow.invoke(call.flow_event("started"))
        flow.invoke(call.flow_event("stopped"))
        # As EventBridge delivers it.
        sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(call.contact_event()))
        source = EventSource(sqs, queue_url, archive)
        for _ in range(2):
            if source.poll(wait_s=20) != 1:
                raise RuntimeError("the call was not archived")
    requests = {api: count - before.get(api, 0) for api, count in aws.requests.items()}
    # The local event source asks before each receive; Lambda's does not ask for each message.
    requests.pop("SQS GetQueueAttributes", None)
    listing = boto3.client("s3", **aws.client_options).list_objects_v2(Bucket=resources.bucket)
    return Usage(
        requests={api: count for api, count in sorted(requests.items()) if count},
        stream_bytes=sum(fragment.size_bytes for fragment in call.fragments),
        stored_bytes=sum(entry["Size"] for entry in listing["Contents"]),
        log_bytes=sum((folder / name).stat().st_size for name in ("flow", "archive")),
    )


def build_items(usage: Usage) -> list[Item]:
    """What a thousand calls cost once."""
    requests = usage.requests
    puts = sum(count for api, count in requests.items() if api in ("S3 PUT", "S3 POST"))
    gets = sum(count for api, count in requests.items() if api in ("S3 GET", "S3 HEAD"))
    sqs = sum(count for api, count in requests.items() if api.startswith("SQS "))
    invocations = 4
    stream_gb = usage.stream_bytes * CALLS / GB
    # In whole kilobytes, so that a longer number in a line does not change the document.
    log_kb = math.ceil(usage.log_bytes / 1000) + invocations * LAMBDA_LOG_BYTES / 1000
    return [
        Item(
            "ArchiveFunction",
            f"{CALLS:,} × {ARCHIVE_S} s × {ARCHIVE_GB} GB",
            CALLS * ARCHIVE_S * ARCHIVE_GB,
            "lambda",
        ),
        Item(
            "FlowFunction",
            f"{CALLS:,} × 2 × {FLOW_S} s × {FLOW_GB} GB",
            CALLS * 2 * FLOW_S * FLOW_GB,
            "lambda",
        ),
        Item("Invocations", f"{CALLS:,} × {invocations}", CALLS * invocations, "invoke"),
        Item("S3 PUT and POST", f"{CALLS:,} × {puts}", CALLS * puts, "put"),
        Item("S3 GET and HEAD", f"{CALLS:,} × {gets}", CALLS * gets, "get"),
        Item("S3 events", f"{CALLS:,} × 2 objects", CALLS * 2, "event"),
        Item("SQS", f"{CALLS:,} × {sqs}", CALLS * sqs, "sqs"),
        Item("KVS, ingested", f"{CALLS:,} × {usage.stream_bytes:,} bytes", stream_gb, "ingest"),
        Item("KVS, consumed", f"{CALLS:,} × {usage.stream_bytes:,} bytes", stream_gb, "consume"),
        Item(
            "KVS, kept",
            f"{stream_gb:.2f} GB × {RETENTION_HOURS} h / {HOURS_A_MONTH} h",
            stream_gb * RETENTION_HOURS / HOURS_A_MONTH,
            "keep",
        ),
        Item("Logs", f"{CALLS:,} × {log_kb:g} kB", CALLS * log_kb * 1000 / GB, "log"),
        Item(
            "Traces, if each were sampled",
            f"{CALLS:,} × {invocations}",
            CALLS * invocations,
            "trace",
        ),
    ]


def build_monthly(usage: Usage) -> list[Item]:
    """What a thousand calls, and the stack itself, cost each month."""
    stored_gb = usage.stored_bytes * CALLS / GB
    return [
        Item("Recordings and manifests", f"{stored_gb:.2f} GB", stored_gb, "store"),
        Item("Their tags", f"{CALLS:,} × 2 × 2", CALLS * 4, "tag"),
    ]


def read_metrics() -> set[str]:
    """The custom metrics' names: all of them are on the dashboard or watched by an alarm."""
    template = TEMPLATE.read_text()
    drawn = re.findall(r'"CallArchive", "(\w+)"', template)
    watched = re.findall(r"Namespace: CallArchive\n +MetricName: (\w+)", template)
    return {*drawn, *watched}


def count_alarm_metrics() -> int:
    """The metrics of all alarms: one that computes with two is billed as two."""
    return len(re.findall(r"^ +MetricName: ", TEMPLATE.read_text(), flags=re.MULTILINE))


def build_standing() -> list[Item]:
    """What the stack costs each month without a call."""
    metrics = len(read_metrics())
    return [
        Item(
            "SQS, an empty queue",
            f"5 × 3 a minute × {HOURS_A_MONTH} h",
            IDLE_RECEIVES_A_MONTH,
            "sqs",
        ),
        Item("Metrics", f"{metrics}, in a month in which all occur", metrics, "metric"),
        Item("Alarms", "each metric that one watches", count_alarm_metrics(), "alarm"),
        Item("Dashboard", "1", 1, "dashboard"),
    ]


def render(usage: Usage) -> str:
    """The document."""
    monthly = build_monthly(usage)
    parts = [
        _TEXT.format(calls=CALLS, minutes=MINUTES, prices_of=PRICES_OF),
        f"## {CALLS:,} calls, once",
        _tabulate(build_items(usage)),
        f"## The same {CALLS:,} calls, each month that they are kept",
        _tabulate(monthly),
        "## The stack, each month",
        _tabulate(build_standing()),
        "## Counted",
        "Of one call: "
        + ", ".join(f"{count} {api}" for api, count in usage.requests.items())
        + ". KVS and Connect do not bill by request.",
        "## Prices",
        Table(
            ("price", "USD"), [(text, f"{usd:.10f}".rstrip("0")) for usd, text in PRICES.values()]
        ).render(),
        _AFTER.format(calls=CALLS, year=12 * sum(item.usd for item in monthly)),
    ]
    return "\n\n".join(parts) + "\n"


def _tabulate(items: Sequence[Item]) -> str:
    rows = [
        (item.what, item.arithmetic, f"{item.quantity:,.4g}", f"{item.usd:.4f}") for item in items
    ]
    rows.append(("**total**", "", "", f"**{sum(item.usd for item in items):.4f}**"))
    return Table(("what", "arithmetic", "quantity", "USD"), rows).render()


def main() -> None:
    """Prints the document, or writes it."""
    parser = argparse.ArgumentParser(prog="python -m bench.bill", description=__doc__)
    parser.add_argument("--write", type=Path, help="file for the document")
    options = parser.parse_args()
    document = render(measure_call())
    if options.write is None:
        print(document)
    else:
        options.write.write_text(document)


if __name__ == "__main__":
    main()
