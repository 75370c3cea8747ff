"""`hold`, `release` and `list --held`, in a bucket with Object Lock."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from call_archive_cli.clients import Clients
from call_archive_cli.erasure import Related
from call_archive_cli.holds import Holding, Holds
from call_archive_cli.stored import S3Store
from local.clients import REGION
from local.server import LocalAws
from tests.cli.archive import Archive
from tests.cli.conftest import Run
from tests.integration.journey import CONTACT_ID, OTHER_CONTACT_ID, RESOURCES

LOCKED = "call-archive-locked"
BUCKET = ("--bucket", LOCKED)
UNKNOWN = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def locked(aws: LocalAws, s3: Any) -> Archive:
    s3.create_bucket(
        Bucket=LOCKED,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    return Archive(s3, LOCKED)


def held(s3: Any) -> list[bool]:
    """Of each version in the bucket that is a recording or a manifest: whether it is held."""
    listed = s3.list_object_versions(Bucket=LOCKED)["Versions"]
    return [
        s3.head_object(Bucket=LOCKED, Key=v["Key"], VersionId=v["VersionId"]).get(
            "ObjectLockLegalHoldStatus"
        )
        == "ON"
        for v in listed
        if not v["Key"].startswith(("holds/", "tombstones/"))
    ]


def test_every_version_is_held_and_released(run: Run, locked: Archive, s3: Any) -> None:
    locked.put(complete=False)
    locked.put()
    locked.put(OTHER_CONTACT_ID)
    told = run("hold", CONTACT_ID, *BUCKET, "--no-wait", "--json")
    assert told.exit_code == 1, "a run that began before is not covered yet"
    assert (json.loads(told.stdout)["versions"], sorted(held(s3))) == (4, [False] * 2 + [True] * 4)
    assert run("hold", UNKNOWN, *BUCKET, "--no-wait").exit_code == 1
    listed = run("list", *BUCKET, "--held", "--json")
    assert "1 more contact held, of which nothing is archived yet" in listed.stderr
    assert [one["contactId"] for one in json.loads(listed.stdout)] == [CONTACT_ID]

    refused = run("erase", CONTACT_ID, *BUCKET, "--yes")
    assert (refused.exit_code, len(held(s3))) == (1, 6)
    assert "is held, so nothing was changed" in refused.stderr

    freed = run("release", CONTACT_ID, *BUCKET, "--no-wait")
    assert freed.exit_code == 1, "a run that began before may still hold something"
    assert f"{CONTACT_ID} released: 4 versions, of which 4 changed" in freed.stdout
    assert "may still publish with a hold for 9" in freed.stdout
    assert not any(held(s3))
    assert "0 recordings" in run("list", *BUCKET, "--held").stdout
    assert run("erase", CONTACT_ID, *BUCKET, "--yes", "--no-wait").exit_code == 1
    assert len(held(s3)) == 2


def test_what_a_run_publishes_meanwhile_is_held(clients: Clients, locked: Archive, s3: Any) -> None:
    locked.put()

    def publish(_: float) -> None:
        locked.put(started="2026-01-02T09:00:00.000Z")

    store = S3Store(clients, LOCKED, "")
    holds = Holds(store, Related, wait_s=0.05, sleep=publish)
    done = Holding()
    while not done.is_settled:
        holds.hold([CONTACT_ID], done, reason="CASE", waits=True)
    assert all(held(s3))
    later = Holding()
    replace(holds, wait_s=660).hold([CONTACT_ID], later, reason="CASE", waits=False)
    assert not later.is_settled


def test_what_a_run_holds_meanwhile_is_released(clients: Clients, locked: Archive, s3: Any) -> None:
    """The run saw the marker before it was removed."""
    locked.put()
    store = S3Store(clients, LOCKED, "")
    waiting = Holds(store, Related, wait_s=1.0, sleep=lambda _: None)
    waiting.hold([CONTACT_ID], Holding(), reason="CASE", waits=False)

    def publish(seconds: float) -> None:
        assert not any(held(s3))
        key = locked.put(started="2026-01-02T09:00:00.000Z")
        s3.put_object_legal_hold(Bucket=LOCKED, Key=key, LegalHold={"Status": "ON"})
        time.sleep(seconds)

    done = Holding()
    replace(waiting, sleep=publish).release([CONTACT_ID], done, waits=True)
    assert done.is_settled
    assert not any(held(s3))


def test_a_bucket_with_a_held_version_cannot_be_removed(run: Run, locked: Archive, s3: Any) -> None:
    key = locked.put()
    run("hold", CONTACT_ID, *BUCKET, "--no-wait")
    (version,) = s3.list_object_versions(Bucket=LOCKED, Prefix=key)["Versions"]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=LOCKED, Key=key, VersionId=version["VersionId"])
    # What a lifecycle rule does when its day comes.
    s3.delete_object(Bucket=LOCKED, Key=key)
    assert held(s3).count(True) == 2
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(Bucket=LOCKED)


def test_an_erased_contact_cannot_be_held(run: Run, locked: Archive) -> None:
    locked.put()
    run("erase", CONTACT_ID, *BUCKET, "--yes", "--no-wait")
    told = run("hold", CONTACT_ID, *BUCKET)
    assert told.exit_code == 1
    assert "is erased" in told.stderr


def test_a_bucket_without_object_lock_holds_nothing(run: Run, archive: Archive, s3: Any) -> None:
    archive.put()
    told = run("hold", CONTACT_ID, "--bucket", RESOURCES.bucket)
    assert told.exit_code == 3
    assert "put-object-lock-configuration" in told.stderr
    assert s3.list_objects_v2(Bucket=RESOURCES.bucket, Prefix="holds/")["KeyCount"] == 0
    freed = run("release", CONTACT_ID, "--bucket", RESOURCES.bucket)
    assert freed.exit_code == 0
    assert "no Object Lock, so nothing was held" in freed.stderr


def test_what_a_lock_keeps_is_said(run: Run, locked: Archive, s3: Any) -> None:
    key = locked.put()
    s3.put_object_retention(
        Bucket=LOCKED,
        Key=key,
        Retention={"Mode": "COMPLIANCE", "RetainUntilDate": datetime(2099, 1, 2, tzinfo=UTC)},
    )
    told = run("erase", CONTACT_ID, *BUCKET, "--yes")
    assert told.exit_code == 1
    # moto has no GetObjectRetention: AWS says until when.
    assert "stays: DeleteObject answered AccessDenied" in told.stderr
    assert "or a lock keeps it" in told.stderr
    assert "NOT final: S3 keeps some of it" in told.stdout
