"""Keys of rows in a store of objects that keeps every version: what is forgotten is in none of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from retention.objects.bucket import Bucket
from retention.objects.object_files import ObjectBlobs, RisingBlobs
from retention.postgres.row_keys import FolderBlobs, Revision, read_bundle
from tests import tiers
from tests.kept import receipt, recording
from tests.object_store import Losing, place_of
from tests.postgres import Server, fresh
from tests.s3 import Moto, Weed
from tests.sealed import ask, keys_in, run, sealed_store, tables

TABLES_OF_DATABASE = tables


@pytest.fixture(params=tiers.first("moto", "weed"))
def objects(request: pytest.FixtureRequest) -> Moto | Weed:
    found: Moto | Weed = request.getfixturevalue(request.param)
    return found


def keys_in_all_versions(objects: Moto | Weed, bucket: Bucket) -> dict[str, bytes]:
    """Whatever can still be read there."""
    client, place = objects.client(), bucket.place
    listed = client.list_object_versions(Bucket=place.bucket, Prefix=place.prefix)
    found: dict[str, bytes] = {}
    for one in listed.get("Versions", []):
        content = client.get_object(Bucket=place.bucket, Key=one["Key"], VersionId=one["VersionId"])[
            "Body"
        ].read()
        _, bundle, number = one["Key"].removeprefix(place.prefix).split("/")
        keys = read_bundle(Revision(bundle, int(number)), content)
        found |= {f"{bundle}/{name}": key for name, key in keys.items()}
    return found


def test_what_is_forgotten_is_in_no_version(objects: Moto | Weed, database: str, tmp_path: Path) -> None:
    bucket = Bucket(place_of(objects, tmp_path))
    with sealed_store(database, ObjectBlobs(bucket), host="a") as store:
        calls = [receipt(recording(minutes)) for minutes in range(4)]
        for one in calls:
            store.add_receipt(one)
            store.update_receipt(replace(one, outcome="failed"))
        keys = {row["id"]: row["key"] for row in ask(database, "SELECT id, key FROM receipts")}
        assert set(keys.values()) <= set(keys_in_all_versions(objects, bucket))
        for one in calls[:3]:
            store.update_receipt(one.anonymous())
        assert store.keys_left() == 0
    there = keys_in_all_versions(objects, bucket)
    assert keys[calls[3].id] in there and not {keys[one.id] for one in calls[:3]} & set(there)
    with sealed_store(database, ObjectBlobs(bucket)) as store:
        assert [one.caller for one in store.receipts()] == [calls[3].caller, None, None, None]


@pytest.mark.parametrize("what", ["put", "remove"])
@pytest.mark.parametrize("done", [True, False])
def test_an_answer_that_is_lost_leaves_nothing(
    moto: Moto, database: str, tmp_path: Path, what: str, done: bool
) -> None:
    bucket = Losing(place_of(moto, tmp_path))
    with sealed_store(database, ObjectBlobs(bucket), host="a") as store:
        calls = [receipt(recording(minutes)) for minutes in range(3)]
        for one in calls:
            store.add_receipt(one)
        keys = {row["id"]: row["key"] for row in ask(database, "SELECT id, key FROM receipts")}
        if done:
            bucket.losing = lambda asked, name: asked == what
        else:
            bucket.failing = lambda asked, name: asked == what
        store.update_receipt(calls[0].anonymous())
        assert store.receipt(calls[0].id).caller is None and store.keys_left() > 0
        assert "does not answer" in store.forget_keys().problem
        bucket.losing = bucket.failing = lambda asked, name: False
        store.update_receipt(calls[1].anonymous())
        run(database, "UPDATE key_revisions SET since = since - interval '2 minutes'")
        assert (store.forget_keys().left, store.keys_left()) == (0, 0)
        there = keys_in_all_versions(moto, bucket)
        assert keys[calls[2].id] in there and not {keys[one.id] for one in calls[:2]} & set(there)
        assert store.receipt(calls[2].id) == calls[2]


def test_keys_that_were_files_go_up(objects: Moto | Weed, database: str, tmp_path: Path) -> None:
    bucket, files = Bucket(place_of(objects, tmp_path)), FolderBlobs(tmp_path / "vault")
    calls = [receipt(recording(minutes)) for minutes in range(3)]
    with sealed_store(database, files, host="a") as store:
        for one in calls:
            store.add_receipt(one)
    keys = {row["id"]: row["key"] for row in ask(database, "SELECT id, key FROM receipts")}
    with sealed_store(database, ObjectBlobs(bucket)) as store:
        (host,) = store.keys.out_of_reach()
        assert host == "a"
    with sealed_store(database, RisingBlobs(ObjectBlobs(bucket), files), host="a") as store:
        assert [one.caller for one in store.receipts()] == [one.caller for one in calls[::-1]]
        store.update_receipt(calls[0].anonymous())
        assert keys[calls[0].id] not in keys_in(tmp_path / "vault")
        assert store.bring_up(files) > 0
        assert store.bring_up(files) == 0 and store.keys_left() == 0
    assert not (tmp_path / "vault" / "rows").exists()
    with sealed_store(database, ObjectBlobs(bucket)) as store:
        assert [one.caller for one in store.receipts()] == [calls[2].caller, calls[1].caller, None]
        assert store.keys.out_of_reach() == {}
    there = keys_in_all_versions(objects, bucket)
    assert keys[calls[1].id] in there and keys[calls[0].id] not in there


def test_keys_of_another_database_stay_where_they_are(
    moto: Moto, postgres: Server, database: str, tmp_path: Path
) -> None:
    bucket, files = Bucket(place_of(moto, tmp_path)), FolderBlobs(tmp_path / "vault")
    with fresh(postgres, tables) as other, sealed_store(other, files, host="a") as store:
        store.add_receipt(receipt(recording()))
    before = keys_in(tmp_path / "vault")
    with sealed_store(database, RisingBlobs(ObjectBlobs(bucket), files), host="a") as store:
        assert store.bring_up(files) == 0
    assert keys_in(tmp_path / "vault") == before != {}
