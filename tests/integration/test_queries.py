"""Manifests as a table: what Athena would read and answer, from what the function wrote.

The function archives calls; their manifests are read from the bucket as the SerDe reads them (a
line a row, names without case), into a table of the template's columns. The template's SQL, turned
into DuckDB's by sqlglot, runs on it. What is expected is known from the calls themselves.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import expressions

from local.behaviour import CONNECT_DEFAULTS, FragmentFault
from local.call import Call, Delivery, simulate_call
from local.demo_call import INSTANCE_ARN, STREAM_ARN
from local.pcm import synthetic_pcm
from local.runtime import ARCHIVE_HANDLER, Function
from local.server import LocalAws
from tests.integration.journey import RESOURCES, SETTLES, Journey, environment
from tests.template.cloudformation import deploy, of_type

type Json = dict[str, Any]

QUERIES = Path(__file__).parents[2] / "queries"
OTHER_INSTANCE_ARN = INSTANCE_ARN[:-4] + "ffff"
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# 2026-02-03T10:00:00Z
START_MS = 1_770_112_800_000
BYTES_PER_S = 16_000
HEADER_BYTES = 44
FRAGMENT_S = 0.96
_HIVE_TO_DUCKDB = {"string": "VARCHAR", "int": "INTEGER", "bigint": "BIGINT", "boolean": "BOOLEAN"}


@dataclass(frozen=True)
class Scene:
    """One recorded call, and what it is known to hold."""

    name: str
    start_ms: int
    seconds: float
    instance_arn: str = INSTANCE_ARN
    initial: str | None = None
    lost: bool = False
    hole_ms: int = 0
    repeats: bool = False
    knows_stop: bool = True

    def call(self, sequence: int) -> Call:
        delivery = Delivery(holes_ms={2: self.hole_ms} if self.hole_ms else {})
        return simulate_call(
            synthetic_pcm(self.seconds, seed=1),
            synthetic_pcm(self.seconds, seed=2),
            contact_id=self.name,
            initial_contact_id=self.initial,
            instance_arn=self.instance_arn,
            stream_arn=STREAM_ARN,
            start_ms=self.start_ms,
            first_sequence=sequence,
            seed=sequence,
            delivery=delivery,
        )

    @property
    def recorded_s(self) -> float:
        return self.seconds + self.hole_ms / 1000


SCENES = (
    Scene("plain", START_MS, 4.8, knows_stop=False),
    Scene("same-hour", START_MS + 60_000, 6.72),
    Scene("third-of-the-hour", START_MS + 120_000, 2.88),
    Scene("next-hour", START_MS + HOUR_MS, 3.84, initial="plain"),
    Scene("other-instance", START_MS + 2 * HOUR_MS, 4.8, instance_arn=OTHER_INSTANCE_ARN),
    Scene("lost-fragment", START_MS + 3 * HOUR_MS, 5.76, lost=True),
    Scene("with-a-hole", START_MS + DAY_MS, 4.8, hole_ms=5000),
    Scene("repeats-itself", START_MS + DAY_MS + HOUR_MS, 4.8, repeats=True),
    Scene("next-month", START_MS + 30 * DAY_MS, 4.8),
)


@dataclass(frozen=True)
class Archived:
    """The manifests in the bucket, by key, and a database that holds them as the table says."""

    manifests: dict[str, bytes]
    database: duckdb.DuckDBPyConnection

    def ask(self, name: str, *parameters: object) -> list[Json]:
        """The rows that a query of queries/ answers."""
        cursor = self.database.execute(to_duckdb((QUERIES / f"{name}.sql").read_text()), parameters)
        assert cursor.description is not None
        names = [column[0].lower() for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture(scope="module")
def archived(shared_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    folder = tmp_path_factory.mktemp("queries")
    variables = {**environment(shared_aws), "CONNECT_INSTANCE_ARN": ""}
    with Function(ARCHIVE_HANDLER, variables, folder / "log") as function:
        journey = Journey(shared_aws, function)
        for number, scene in enumerate(SCENES, start=1):
            archive(journey, scene, 1000 * number + 1)
        keys = [key for key in journey.keys() if key.startswith("manifests/")]  # noqa: SIM118
        manifests = {
            key: journey.s3.get_object(Bucket=RESOURCES.bucket, Key=key)["Body"].read()
            for key in keys
        }
    with duckdb.connect() as database:
        load(database, manifests, folder / "rows.json")
        yield Archived(manifests, database)


def archive(journey: Journey, scene: Scene, sequence: int) -> None:
    call = scene.call(sequence)
    again = scene.call(sequence + 500)
    journey.aws.place(*((call, again) if scene.repeats else (call,)))
    faults = (FragmentFault(call.fragments[2].number, kind="left_out", times=None),)
    journey.aws.behaviour = replace(CONNECT_DEFAULTS, fragment_faults=faults if scene.lost else ())
    job = call.archive_job()
    if scene.repeats:
        job["stopFragmentNumber"] = str(again.stop_fragment_number)
    if not scene.knows_stop:
        del job["stopFragmentNumber"]
    journey.run(job, receives=SETTLES)


def load(database: duckdb.DuckDBPyConnection, manifests: dict[str, bytes], path: Path) -> None:
    """Makes the table: a row for each line, names in lower case, the partitions from the key."""
    rows = [
        {**lower(json.loads(line)), **partition_of(key)}
        for key, document in manifests.items()
        for line in document.splitlines()
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    types = {name: duckdb_type(hive) for name, hive in table_columns().items()}
    database.execute("SET TimeZone = 'UTC'")
    database.execute(
        "CREATE TABLE manifests AS SELECT * FROM read_json($path, columns = $types)",
        {"path": str(path), "types": types},
    )


def table_columns() -> dict[str, str]:
    """Hive's types of the table's columns and partitions, by name."""
    (table,) = of_type(deploy({}), "AWS::Glue::Table").values()
    described = table["TableInput"]
    columns = described["StorageDescriptor"]["Columns"] + described["PartitionKeys"]
    return {column["Name"]: column["Type"] for column in columns}


def lower(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower(): lower(item) for key, item in value.items()}
    return [lower(item) for item in value] if isinstance(value, list) else value


def partition_of(key: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"(year|month|day)=([0-9]+)/", key)}


def fields_of(struct: str) -> Iterator[str]:
    """The fields of a struct: the parts between commas that are in no other type."""
    depth = start = 0
    for at, character in enumerate(struct):
        depth += (character == "<") - (character == ">")
        if character == "," and not depth:
            yield struct[start:at]
            start = at + 1
    yield struct[start:]


def duckdb_type(hive: str) -> str:
    if hive.startswith("array<"):
        return duckdb_type(hive[len("array<") : -1]) + "[]"
    if hive.startswith("struct<"):
        fields = (field.split(":", 1) for field in fields_of(hive[len("struct<") : -1]))
        return f"STRUCT({', '.join(f'"{name}" {duckdb_type(of)}' for name, of in fields)})"
    return _HIVE_TO_DUCKDB[hive]


def to_duckdb(sql: str) -> str:
    """The query in DuckDB's dialect; raises where sqlglot cannot say the same."""
    tree = sqlglot.parse_one(sql, read="athena")
    for reduction in tree.find_all(expressions.Reduce):
        # DuckDB has no last step, and sqlglot would complain: it may only be the identity.
        finish = reduction.args.pop("finish")
        assert finish.this.name == finish.expressions[0].name
    return tree.sql(dialect="duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)


def on_day(day: int, month: int = 2) -> list[Scene]:
    return [scene for scene in SCENES if day_of(scene) == (month, day)]


def day_of(scene: Scene) -> tuple[int, int]:
    started = datetime.fromtimestamp(scene.start_ms / 1000, UTC)
    return started.month, started.day


def rounded(rows: list[Json], *names: str) -> list[tuple[Any, ...]]:
    values = ([row[name] for name in names] for row in rows)
    return [tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in values]


# -------------------------------------------------------------------------------------- the table


def test_every_call_is_there(archived: Archived) -> None:
    assert len(archived.manifests) == len(SCENES)


def test_a_manifest_is_one_line(archived: Archived) -> None:
    for document in archived.manifests.values():
        assert document.count(b"\n") == 1
        assert document.endswith(b"}\n")


def test_no_two_names_differ_in_case_only(archived: Archived) -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert len({key.lower() for key in value}) == len(value)
            for item in value.values():
                check(item)
        if isinstance(value, list):
            for item in value:
                check(item)

    for document in archived.manifests.values():
        check(json.loads(document))


def test_table_has_exactly_the_manifests_fields(archived: Archived) -> None:
    """DuckDB works out the structure of all manifests; integers of any size count as one type."""
    (answer,) = archived.database.execute(
        "SELECT json_group_structure(column0::JSON) FROM (SELECT unnest($documents) AS column0)",
        {"documents": [document.decode() for document in archived.manifests.values()]},
    ).fetchall()
    inferred = {name.lower(): hive_type(found) for name, found in json.loads(answer[0]).items()}
    declared = {
        name: re.sub(r"\b(big)?int\b", "integer", hive) for name, hive in table_columns().items()
    }
    inferred |= {"year": "integer", "month": "integer", "day": "integer"}
    assert inferred.keys() == declared.keys()
    for name, found in inferred.items():
        # Of a list that is empty in every manifest no type can be inferred.
        assert re.fullmatch(re.escape(found).replace("unknown", ".+"), declared[name]), name


def hive_type(found: Any) -> str:
    if isinstance(found, list):
        return f"array<{hive_type(found[0])}>"
    if isinstance(found, dict):
        fields = ",".join(f"{name.lower()}:{hive_type(field)}" for name, field in found.items())
        return f"struct<{fields}>"
    return {"VARCHAR": "string", "BOOLEAN": "boolean", "NULL": "unknown"}.get(found, "integer")


def test_columns_hold_what_the_manifests_say(archived: Archived) -> None:
    cursor = archived.database.execute("SELECT * FROM manifests")
    assert cursor.description is not None
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    assert rows == [
        {**lower(json.loads(document)), **partition_of(key)}
        for key, document in archived.manifests.items()
    ]


@pytest.mark.parametrize("prefix", ["", "calls/"])
def test_every_manifest_lies_where_its_partition_is_looked_for(
    archived: Archived, prefix: str
) -> None:
    parameters = {"ArchivePrefix": prefix}
    (table,) = of_type(deploy(parameters), "AWS::Glue::Table").values()
    properties = table["TableInput"]["Parameters"]
    for key in archived.manifests:
        values = partition_of(key)
        for name, value in values.items():
            low, high = (int(bound) for bound in properties[f"projection.{name}.range"].split(","))
            assert low <= value <= high
            digits = int(properties.get(f"projection.{name}.digits", 0))
            properties = {
                **properties,
                "storage.location.template": properties["storage.location.template"].replace(
                    f"${{{name}}}", f"{value:0{digits}}"
                ),
            }
        location = properties["storage.location.template"]
        assert f"s3://<ArchiveBucket>/{prefix}{key}".startswith(location)
        assert location.startswith(table["TableInput"]["StorageDescriptor"]["Location"])
        properties = table["TableInput"]["Parameters"]


# ------------------------------------------------------------------------------------ the queries


def test_saved_queries_are_those_of_the_folder() -> None:
    saved = {
        query["Name"].removeprefix("call-archive-"): query["QueryString"]
        for query in of_type(deploy({}), "AWS::Athena::NamedQuery").values()
    }
    assert saved == {path.stem: path.read_text() for path in QUERIES.glob("*.sql")}


def test_nothing_is_made_where_it_is_not_wanted() -> None:
    types = {resource["Type"] for resource in deploy({"AthenaTable": "false"}).values()}
    assert not [name for name in types if name.startswith(("AWS::Glue", "AWS::Athena"))]


def test_incomplete_recordings(archived: Archived) -> None:
    (row,) = archived.ask("incomplete-recordings", 2026, 2, 3)
    assert row["contactid"] == "lost-fragment"
    assert row["instancearn"] == INSTANCE_ARN
    assert row["reasons"].startswith("NOT_DELIVERED: ")
    assert row["seconds"] == pytest.approx(5.76, abs=0.001)
    assert row["recordinguri"].startswith(
        f"s3://{RESOURCES.bucket}/recordings/year=2026/month=02/day=03/lost-fragment/"
    )
    assert archived.ask("incomplete-recordings", 2026, 2, 4) == []


def test_hours_of_audio(archived: Archived) -> None:
    expected = []
    for instance in sorted({scene.instance_arn for scene in SCENES}):
        for day in (3, 4):
            found = [s for s in on_day(day) if s.instance_arn == instance]
            if found:
                hours = sum(scene.recorded_s for scene in found) / 3600
                expected.append((instance, day, len(found), pytest.approx(hours, abs=1e-5)))
    rows = archived.ask("hours-of-audio", 2026, 2)
    assert rounded(rows, "instancearn", "day", "recordings", "hours") == expected


def test_archive_delay(archived: Archived) -> None:
    delays: dict[datetime, list[float]] = {}
    for key, document in archived.manifests.items():
        if "/month=02/day=03/" in key:
            manifest = json.loads(document)
            ended, done = (datetime.fromisoformat(manifest[k]) for k in ("endedAt", "archivedAt"))
            hour = ended.replace(minute=0, second=0, microsecond=0)
            delays.setdefault(hour, []).append((done - ended).total_seconds())

    def nearest_rank(values: list[float], share: float) -> float:
        return sorted(values)[math.ceil(share * len(values)) - 1]

    assert max(len(values) for values in delays.values()) == 3
    rows = archived.ask("archive-delay", 2026, 2, 3)
    assert rounded(rows, "ended_hour", "recordings", "p50_seconds", "p95_seconds") == [
        (
            hour,
            len(values),
            round(nearest_rank(values, 0.5), 6),
            round(nearest_rank(values, 0.95), 6),
        )
        for hour, values in sorted(delays.items())
    ]


def test_recordings_of_a_contact(archived: Archived) -> None:
    rows = archived.ask("contact", "plain", 2026)
    assert rounded(rows, "contactid", "complete", "trigger") == [
        ("plain", True, "flow"),
        ("next-hour", True, "flow"),
    ]
    assert archived.ask("contact", "plain", 2025) == []


def test_missing_audio(archived: Archived) -> None:
    names = ("day", "recordings", "incomplete", "missing_fragments", "gaps", "gap_seconds")
    third, fourth = rounded(archived.ask("missing-audio", 2026, 2), *names)
    # Where the lost fragment was, there is silence.
    assert third == (3, 6, 1, 1, 1, pytest.approx(FRAGMENT_S, abs=0.07))
    assert fourth == (4, 2, 0, 0, 1, pytest.approx(5, abs=0.001))


def test_storage(archived: Archived) -> None:
    def size(scenes: list[Scene]) -> int:
        return sum(HEADER_BYTES + round(scene.recorded_s * BYTES_PER_S) for scene in scenes)

    rows = archived.ask("storage", 2026)
    own = [scene for scene in SCENES if scene.instance_arn == INSTANCE_ARN]
    february = [scene for scene in own if day_of(scene)[0] == 2]
    march = [scene for scene in own if day_of(scene)[0] == 3]
    other = [scene for scene in SCENES if scene not in own]
    assert rounded(rows, "instancearn", "month", "recordings") == [
        (INSTANCE_ARN, 2, 7),
        (INSTANCE_ARN, 3, 1),
        (OTHER_INSTANCE_ARN, 2, 1),
    ]
    assert [row["bytes"] for row in rows] == [
        pytest.approx(size(scenes), abs=16 * 100) for scenes in (february, march, other)
    ]
    assert [row["gigabytes"] for row in rows] == [row["bytes"] / 1e9 for row in rows]
