"""What the functions really log and measure: valid, private, and what alarms and queries name."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from local.behaviour import FragmentFault
from local.call import Delivery
from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, Function
from local.server import LocalAws
from tests.integration.journey import (
    CONTACT_ID,
    GIVES_UP,
    SETTLES,
    Journey,
    call,
    environment,
    flow_environment,
)
from tests.template.cloudformation import Json, deploy
from tests.template.operations import log_queries, watched_metrics

UNTAGGED_ID = "11111111-aaaa-bbbb-cccc-222222222222"
UNSTREAMED_ID = "33333333-aaaa-bbbb-cccc-444444444444"

# Lambda's own line about an invocation. Source: Lambda developer guide, "Telemetry API Event schema
# reference", platform.report.
PLATFORM_FIELDS = {
    "type",
    "record.requestId",
    "record.metrics.durationMs",
    "record.metrics.maxMemoryUsedMB",
    "record.metrics.memorySizeMB",
}
# What CloudWatch Logs adds to every line, and the language's words. Source: CloudWatch Logs user
# guide, "Logs Insights language query syntax".
LOGS_FIELDS = {"@timestamp", "@message", "@log", "@logStream"}
COMMANDS = {"SOURCE", "fields", "filter", "stats", "sort", "limit"}
WORDS = {"and", "or", "by", "as", "asc", "desc", "count", "count_distinct", "max", "ispresent"}


@pytest.fixture(scope="module")
def lines(shared_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    """Everything that both functions print while all that can happen to a call happens."""
    log = tmp_path_factory.mktemp("operations") / "log"
    with (
        Function(ARCHIVE_HANDLER, environment(shared_aws), log) as archive,
        Function(FLOW_HANDLER, flow_environment(shared_aws), log, timeout_s=8) as flow,
    ):
        journey = Journey(shared_aws, archive)
        _archive_in_every_way(journey)
        _ask_in_every_way(flow)
    return [json.loads(line) for line in log.read_text().splitlines()]


def _archive_in_every_way(journey: Journey) -> None:
    whole = journey.place(
        call(Delivery(holes_ms={2: 500}), start_ms=time.time_ns() // 1_000_000 - 60_000)
    )
    assert journey.archive(whole)
    assert journey.archive(whole)
    partial = call(
        Delivery(without_contact_id=frozenset({0})), contact_id=UNTAGGED_ID, first_sequence=9001
    )
    journey.place(partial)
    never = FragmentFault(partial.fragments[3].number, kind="error", times=None)
    journey.behave(fragment_faults=(never,))
    assert not journey.archive(partial)
    assert not journey.archive(partial, receives=SETTLES)
    assert not journey.archive(partial, receives=SETTLES + 1)
    assert journey.archive(partial, receives=GIVES_UP)
    unstreamed = call(contact_id=UNSTREAMED_ID)
    journey.aws.connect.register(unstreamed, recordings_from_ms=10**15)
    assert journey.run(unstreamed.contact_event())


def _ask_in_every_way(flow: Function) -> None:
    one = call()
    for state in ("not_started", "started", "stopped"):
        flow.invoke(one.flow_event(state))
    rejected = one.flow_event("started")
    rejected["Details"]["ContactData"]["InstanceARN"] = "arn:aws:connect:x"
    flow.invoke(rejected)


@pytest.fixture(scope="module")
def documents(lines: list[Json]) -> list[Json]:
    """The metrics, in embedded metric format."""
    return [line for line in lines if "_aws" in line]


@pytest.fixture(scope="module")
def entries(lines: list[Json]) -> list[Json]:
    """The log."""
    return [line for line in lines if "_aws" not in line]


@pytest.fixture(scope="module")
def stack() -> dict[str, Json]:
    return deploy({"ContactRecordStreamArn": "arn:aws:kinesis:eu-west-2:111122223333:stream/x"})


# ------------------------------------------------------------------ metrics


def test_metrics_are_in_embedded_metric_format(documents: list[Json]) -> None:
    """Source: CloudWatch user guide, "Specification: Embedded metric format"."""
    units = _cloudwatch_units()
    assert documents
    for document in documents:
        assert len(json.dumps(document)) < 262_144
        timestamp_ms = document["_aws"]["Timestamp"]
        assert abs(timestamp_ms - time.time() * 1000) < 2 * 3_600_000
        for directive in document["_aws"]["CloudWatchMetrics"]:
            assert re.fullmatch(r"[A-Za-z0-9._/#:-]{1,255}", directive["Namespace"])
            assert not directive["Namespace"].startswith("AWS/")
            for dimensions in directive["Dimensions"]:
                assert 1 <= len(dimensions) <= 30
                for name in dimensions:
                    assert 1 <= len(document[name]) <= 1024
            assert 1 <= len(directive["Metrics"]) <= 100
            for metric in directive["Metrics"]:
                assert metric["Unit"] in units
                assert metric.get("StorageResolution", 60) in {1, 60}
                values = document[metric["Name"]]
                assert 1 <= len(values) <= 100
                assert all(isinstance(value, (int, float)) for value in values)


def _cloudwatch_units() -> set[str]:
    model = Loader().load_service_model("cloudwatch", "service-2")
    return set(model["shapes"]["StandardUnit"]["enum"])


def _metrics(documents: list[Json]) -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    """Namespace, dimensions as name and value, name and unit of each."""
    for document in documents:
        for directive in document["_aws"]["CloudWatchMetrics"]:
            for dimensions in directive["Dimensions"]:
                pairs = tuple(text for name in dimensions for text in (name, document[name]))
                for metric in directive["Metrics"]:
                    yield directive["Namespace"], pairs, metric["Name"], metric["Unit"]


def test_metrics_of_alarms_and_dashboard_are_those_that_are_sent(
    documents: list[Json], stack: dict[str, Json]
) -> None:
    sent = {(namespace, pairs, name) for namespace, pairs, name, _ in _metrics(documents)}
    watched = {
        (metric.namespace, (metric.dimension, metric.value), metric.name)
        for metric in watched_metrics(stack)
        if metric.namespace == "CallArchive"
    }
    assert watched == sent


def test_a_metric_has_one_unit(documents: list[Json]) -> None:
    named = {(name, unit) for _, _, name, unit in _metrics(documents)}
    assert len(named) == len({name for name, _ in named})


def _sum(documents: list[Json], name: str) -> float:
    return sum(sum(document.get(name, [])) for document in documents)


def test_metrics_count_what_happened(documents: list[Json]) -> None:
    counts = {
        "CallsArchived": 2,
        "IncompleteRecordings": 1,
        "DuplicateJobs": 1,
        "JobsRetried": 3,
        "JobsFailed": 1,
        "ContactsNotStreamed": 1,
        "AudioSeconds": 6.5 + (6 - 0.96),
        "ForeignFragments": 0,
        "UntaggedFragments": 1,
        "MissingFragments": 1,
        "GapSeconds": 0.5 + 0.96,
        "FlowEventNone": 1,
        "FlowEventPending": 1,
        "FlowEventQueued": 1,
        "FlowEventRejected": 1,
    }
    assert {name: _sum(documents, name) for name in counts} == pytest.approx(counts)


def test_delay_runs_from_the_hang_up_and_age_from_the_start(
    shared_aws: LocalAws, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    began_ms = time.time_ns() // 1_000_000
    with Function(ARCHIVE_HANDLER, environment(shared_aws), log) as function:
        journey = Journey(shared_aws, function)
        one = journey.place(call(start_ms=began_ms - 60_000))
        assert journey.archive(one)
    ended_ms = time.time_ns() // 1_000_000
    published, measured = (json.loads(line) for line in log.read_text().splitlines())
    (delay_s,), (age_s,) = measured["ArchiveDelay"], measured["AudioAge"]
    assert began_ms <= one.stop_timestamp_ms + delay_s * 1000 <= ended_ms
    assert began_ms <= one.start_timestamp_ms + age_s * 1000 <= ended_ms
    assert published["delayMs"] == pytest.approx(delay_s * 1000)


# ------------------------------------------------------------------ log


def test_every_line_of_a_run_names_its_contact_and_its_request(entries: list[Json]) -> None:
    assert {entry["correlation_id"] for entry in entries} == {
        CONTACT_ID,
        UNTAGGED_ID,
        UNSTREAMED_ID,
    }
    assert all(re.fullmatch(r"[0-9a-f-]{36}", entry["requestId"]) for entry in entries)


def test_a_line_says_what_became_of_a_message(entries: list[Json]) -> None:
    # The local messages were never in a queue, so their visibility cannot be changed: a line each.
    held = [entry for entry in entries if entry.get("code") == "VISIBILITY_NOT_CHANGED"]
    assert [(entry["level"], entry["message"], "exception" in entry) for entry in held] == [
        ("WARNING", "the message comes back after the queue's own visibility timeout", False)
    ] * 3
    told = [entry for entry in entries if entry not in held]
    said = [entry["message"] for entry in told if "code" in entry or entry["level"] == "INFO"]
    assert said == [
        "recording published",
        "already archived",
        "job comes back",
        "recording published",
        "job comes back",
        "earlier recording kept",
        "job comes back",
        "earlier recording kept",
        "job failed",
        "no recording to archive",
        *["flow event answered"] * 4,
    ]


def test_malformed_messages_are_found_by_their_contact(
    shared_aws: LocalAws, tmp_path: Path
) -> None:
    one = call()
    malformed: list[Json] = [
        {**one.archive_job(), "streamArn": "x"},
        {**one.contact_record(), "InstanceARN": "x"},
        {**one.contact_event(), "detail": {"contactId": CONTACT_ID, "eventType": "DISCONNECTED"}},
    ]
    nameless: list[Json] = [{"something": "else"}, {**one.archive_job(), "contactId": "../../x"}]
    log = tmp_path / "log"
    with Function(ARCHIVE_HANDLER, environment(shared_aws), log) as function:
        journey = Journey(shared_aws, function)
        for message in malformed + nameless:
            assert journey.run(message)
    found = [
        entry.get("correlation_id")
        for entry in map(json.loads, log.read_text().splitlines())
        if entry.get("message") == "job failed"
    ]
    assert found == [CONTACT_ID] * 3 + [None] * 2


# ------------------------------------------------------------------ saved queries


def test_queries_ask_for_fields_that_are_logged(
    entries: list[Json], stack: dict[str, Json]
) -> None:
    logged = {path for entry in entries for path, _ in _flatten(entry)}
    for name, query in log_queries(stack).items():
        aliases = set(re.findall(r"\bas (\w+)", query))
        known = logged | aliases | PLATFORM_FIELDS | LOGS_FIELDS
        assert _identifiers(query) <= known, name


def test_queries_filter_for_values_that_are_logged(
    entries: list[Json], stack: dict[str, Json]
) -> None:
    logged = {pair for entry in entries for pair in _flatten(entry)}
    known = logged | {("type", "platform.report"), ("correlation_id", "CONTACT_ID")}
    filtered = {
        pair
        for query in log_queries(stack).values()
        for pair in re.findall(r"([\w.]+) = '([^']+)'", query)
    }
    assert filtered
    assert filtered <= known


def test_queries_are_made_of_the_languages_commands(stack: dict[str, Json]) -> None:
    for query in log_queries(stack).values():
        commands = [part.split()[0] for part in query.split("|")]
        assert set(commands) <= COMMANDS
        # What is renamed or counted is known only behind the stats.
        assert "stats" not in commands or commands.index("stats") > commands.index("filter")


def _identifiers(query: str) -> set[str]:
    """The field names of a query."""
    bare = re.sub(r"'[^']*'", "", query)
    found = set(re.findall(r"@?[A-Za-z_][\w.]*", bare))
    return found - COMMANDS - WORDS


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Field paths as Logs Insights discovers them: `answer.reason`, `reasons.0`."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _flatten(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _flatten(child, f"{path}.{index}")
    else:
        yield path, value
