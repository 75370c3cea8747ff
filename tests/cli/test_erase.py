"""`erase` at a terminal: all versions in a versioned bucket, related contacts, locks, rights."""

import json
from dataclasses import replace
from typing import Any

import pytest

from call_archive.keys import hold_key, tombstone_key
from call_archive_cli.archive import CallArchive
from call_archive_cli.clients import Clients
from call_archive_cli.erasure import Erasure, Receipt
from call_archive_cli.relatives import RelativesOf
from call_archive_cli.stored import S3Store
from local.behaviour import UNLIMITED, CallFault
from local.demo_call import INSTANCE_ARN
from local.server import LocalAws
from tests.cli.archive import Archive
from tests.cli.conftest import Run
from tests.cli.stack import NAME, deploy
from tests.integration.journey import CONTACT_ID, OTHER_CONTACT_ID, RESOURCES, call

BUCKET = ("--bucket", RESOURCES.bucket)
TRANSFER_ID = "11111111-0000-4000-8000-000000000001"
FURTHER_ID = "11111111-0000-4000-8000-000000000002"


@pytest.fixture
def versioned(archive: Archive, s3: Any) -> Archive:
    s3.put_bucket_versioning(Bucket=RESOURCES.bucket, VersioningConfiguration={"Status": "Enabled"})
    return archive


def left(s3: Any, contact_id: str = CONTACT_ID) -> list[str]:
    """Every version, delete marker and open upload of a contact."""
    listed = s3.list_object_versions(Bucket=RESOURCES.bucket)
    entries = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
    uploads = s3.list_multipart_uploads(Bucket=RESOURCES.bucket).get("Uploads", [])
    return [e["Key"] for e in (*entries, *uploads) if contact_id in e["Key"]]


def erasure(clients: Clients, slept: list[float], wait_s: float = 0.0) -> Erasure:
    archive = CallArchive(clients, RESOURCES.bucket, "")
    return Erasure(
        S3Store(clients, RESOURCES.bucket, ""), RelativesOf(archive), wait_s, slept.append
    )


def test_everything_goes_and_the_neighbour_stays(run: Run, versioned: Archive, s3: Any) -> None:
    for complete in (False, True):
        versioned.put(complete=complete)
    versioned.put(started="2026-02-03T00:00:00.000Z")
    neighbour = versioned.put(OTHER_CONTACT_ID)
    key = f"recordings/year=2026/month=01/day=01/{CONTACT_ID}/77.wav"
    s3.create_multipart_upload(Bucket=RESOURCES.bucket, Key=key)
    hidden = f"recordings/year=2019/month=03/day=04/{CONTACT_ID}/5.wav"
    s3.put_object(Bucket=RESOURCES.bucket, Key=hidden, Body=b"RIFF")
    s3.delete_object(Bucket=RESOURCES.bucket, Key=hidden)
    assert len(left(s3)) == 9

    dry = run("erase", CONTACT_ID, *BUCKET, "--dry-run", "--json")
    assert dry.exit_code == 0
    assert len(json.loads(dry.stdout)["versions"]) == 8
    assert len(left(s3)) == 9

    told = run("erase", CONTACT_ID, *BUCKET, "--yes", "--no-wait", "--json")
    assert told.exit_code == 1, "not final"
    receipt = json.loads(told.stdout)
    assert (receipt["final"], len(receipt["removed"]), receipt["abortedUploads"]) == (
        False,
        8,
        [key],
    )
    assert receipt["erasedBy"].startswith("arn:aws:")
    assert left(s3) == []
    s3.head_object(Bucket=RESOURCES.bucket, Key=neighbour)
    body = s3.get_object(Bucket=RESOURCES.bucket, Key=tombstone_key("", CONTACT_ID))["Body"].read()
    assert CONTACT_ID.encode() not in body
    assert json.loads(body)["reason"] == "REQUESTED"


def test_is_final_when_no_run_is_left(clients: Clients, versioned: Archive, s3: Any) -> None:
    versioned.put()
    slept: list[float] = []
    receipt = Receipt()
    later = erasure(clients, slept, wait_s=660)
    later.run([CONTACT_ID], receipt, waits=False)
    assert not receipt.is_final
    assert 600 < receipt.wait_s <= 660
    # What a run that began before has published meanwhile.
    versioned.put()
    last = Receipt()
    replace(later, wait_s=0).run([CONTACT_ID], last)
    assert last.is_final
    assert (left(s3), slept) == ([], [])


def test_asks_before_it_begins(run: Run, versioned: Archive, s3: Any) -> None:
    versioned.put()
    assert run("erase", CONTACT_ID, *BUCKET).exit_code != 0
    assert len(left(s3)) == 2
    assert s3.list_objects_v2(Bucket=RESOURCES.bucket, Prefix="tombstones/")["KeyCount"] == 0


def test_related_contacts_go_too(run: Run, versioned: Archive, s3: Any, aws: LocalAws) -> None:
    versioned.put(initialContactId=CONTACT_ID, instanceArn=INSTANCE_ARN)
    versioned.put(TRANSFER_ID, "2026-01-02T00:10:00.000Z", initialContactId=CONTACT_ID)
    one = call()
    aws.place(one, replace(one, contact_id=FURTHER_ID, initial_contact_id=CONTACT_ID))
    versioned.put(FURTHER_ID, "2026-03-01T09:00:00.000Z", initialContactId=CONTACT_ID)
    versioned.put(OTHER_CONTACT_ID, initialContactId=OTHER_CONTACT_ID)
    told = run("erase", TRANSFER_ID, *BUCKET, "--yes", "--no-wait", "--json")
    found = [contact["contactId"] for contact in json.loads(told.stdout)["contacts"]]
    assert found == sorted([CONTACT_ID, TRANSFER_ID, FURTHER_ID])
    assert not [*left(s3), *left(s3, TRANSFER_ID), *left(s3, FURTHER_ID)]
    assert len(left(s3, OTHER_CONTACT_ID)) == 2


@pytest.mark.parametrize("started", ["1970-01-01T00:00:05.000Z", "0001-01-01T00:00:00.000Z"])
def test_related_contacts_of_a_recording_whose_clock_was_wrong(
    run: Run, versioned: Archive, started: str
) -> None:
    versioned.put(initialContactId=CONTACT_ID, startedAt=started)
    versioned.put(TRANSFER_ID, initialContactId=CONTACT_ID)
    told = run("erase", CONTACT_ID, *BUCKET, "--dry-run", "--json")
    assert len(json.loads(told.stdout)["versions"]) == 4


def test_only_one_contact(run: Run, versioned: Archive, s3: Any) -> None:
    versioned.put(initialContactId=CONTACT_ID)
    versioned.put(TRANSFER_ID, initialContactId=CONTACT_ID)
    run("erase", TRANSFER_ID, *BUCKET, "--only", "--yes", "--no-wait")
    assert (len(left(s3)), left(s3, TRANSFER_ID)) == (2, [])


def test_an_interrupted_run_knows_its_relatives(
    clients: Clients, versioned: Archive, s3: Any
) -> None:
    """The manifests that told of them are gone: the tombstone names their hashes."""
    versioned.put(initialContactId=CONTACT_ID)
    versioned.put(TRANSFER_ID, initialContactId=CONTACT_ID)
    erase = erasure(clients, [], wait_s=660)
    erase.run([CONTACT_ID], Receipt(), waits=False)
    versioned.put(TRANSFER_ID, initialContactId="")
    receipt = Receipt()
    replace(erase, wait_s=0).run([CONTACT_ID], receipt)
    assert receipt.is_final
    assert left(s3, TRANSFER_ID) == []


def test_connect_that_refuses_is_said(run: Run, versioned: Archive, aws: LocalAws) -> None:
    versioned.put(instanceArn=INSTANCE_ARN)
    aws.behaviour = replace(
        UNLIMITED,
        call_faults=(
            CallFault("ListAssociatedContacts", "AccessDeniedException", 403, "no", times=None),
        ),
    )
    told = run("erase", CONTACT_ID, *BUCKET, "--dry-run")
    assert "does not tell the related contacts: ListAssociatedContacts answered" in told.stderr
    assert "AccessDeniedException" in told.stderr


def test_a_contact_that_is_held_is_not_erased(run: Run, versioned: Archive, s3: Any) -> None:
    versioned.put(initialContactId=CONTACT_ID)
    versioned.put(TRANSFER_ID, initialContactId=CONTACT_ID)
    s3.put_object(Bucket=RESOURCES.bucket, Key=hold_key("", TRANSFER_ID), Body=b"{}")
    told = run("erase", CONTACT_ID, *BUCKET, "--yes")
    assert told.exit_code == 1
    assert f"{TRANSFER_ID} is held, so nothing was changed" in told.stderr
    assert len(left(s3)) == 2
    assert s3.list_objects_v2(Bucket=RESOURCES.bucket, Prefix="tombstones/")["KeyCount"] == 0


def test_a_reason_holds_no_prose(run: Run) -> None:
    told = run("erase", CONTACT_ID, *BUCKET, "--reason", "Mrs Smith asked")
    assert told.exit_code == 2
    assert "no personal" in told.stderr


def test_verify_erased_finds_what_came_back(run: Run, versioned: Archive, s3: Any) -> None:
    versioned.put()
    versioned.put(OTHER_CONTACT_ID)
    assert "no contact is erased" in run("verify", *BUCKET, "--erased").stdout
    run("erase", CONTACT_ID, *BUCKET, "--only", "--yes", "--no-wait")
    fresh = run("verify", *BUCKET, "--erased")
    assert fresh.exit_code == 1
    assert "1 erased contact: nothing of it is left, but runs that began before" in fresh.stdout
    key = versioned.put()
    s3.delete_object(Bucket=RESOURCES.bucket, Key=key)
    told = run("verify", *BUCKET, "--erased")
    assert told.exit_code == 1
    assert (
        f"{CONTACT_ID}: 3 versions are left; run `call-archive erase {CONTACT_ID}`" in told.stdout
    )
    one = json.loads(run("verify", *BUCKET, "--erased", "--contact", CONTACT_ID, "--json").stdout)
    assert one["left"][CONTACT_ID][0].endswith(".json")
    other = run("verify", *BUCKET, "--erased", "--contact", OTHER_CONTACT_ID)
    assert other.exit_code == 1
    assert "has no tombstone" in other.stderr


def test_waits_for_the_longest_run_of_the_stack(run: Run, aws: LocalAws) -> None:
    deploy(aws)
    told = run("--stack", NAME, "erase", CONTACT_ID, "--yes", "--no-wait", "--json")
    assert 650 <= json.loads(told.stdout)["finalInSeconds"] <= 660
    without = run("erase", OTHER_CONTACT_ID, *BUCKET, "--yes", "--no-wait", "--json")
    assert 950 <= json.loads(without.stdout)["finalInSeconds"] <= 960
