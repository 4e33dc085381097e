"""The tests' own object stores: what the tests of `[objects]` build upon."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore import UNSIGNED
from botocore.exceptions import BotoCoreError, ClientError

from tests import tiers
from tests.s3 import Moto, Weed


def put(store: Moto | Weed, bucket: str, name: str, data: bytes) -> str:
    version: str = store.client().put_object(Bucket=bucket, Key=name, Body=data)["VersionId"]
    return version


@pytest.mark.parametrize("kind", tiers.first("moto", "weed"))
def test_every_version_stays_until_it_is_removed(kind: str, request: pytest.FixtureRequest) -> None:
    store: Moto | Weed = request.getfixturevalue(kind)
    bucket = store.bucket("versions")
    first, second = put(store, bucket, "a", b"one"), put(store, bucket, "a", b"two")
    store.client().delete_object(Bucket=bucket, Key="a")
    assert store.versions(bucket) == {("a", first): b"one", ("a", second): b"two"}
    store.client().delete_object(Bucket=bucket, Key="a", VersionId=first)
    assert store.versions(bucket) == {("a", second): b"two"}


def test_what_is_held_is_not_deleted(weed: Weed) -> None:
    bucket, client = weed.bucket("held"), weed.client()
    version = put(weed, bucket, "a", b"one")
    client.put_object_legal_hold(Bucket=bucket, Key="a", VersionId=version, LegalHold={"Status": "ON"})
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key="a", VersionId=version)
    client.put_object_legal_hold(Bucket=bucket, Key="a", VersionId=version, LegalHold={"Status": "OFF"})
    client.delete_object(Bucket=bucket, Key="a", VersionId=version)
    assert weed.versions(bucket) == {}


def test_what_was_put_outlives_a_kill(tmp_path: Path) -> None:
    with Weed(tmp_path / "weed", "127.0.0.8") as store:
        bucket = store.start().bucket("kept")
        version = put(store, bucket, "a", b"one")
        store.kill()
        with pytest.raises(BotoCoreError):
            put(store, bucket, "a", b"two")
        assert store.start().versions(bucket) == {("a", version): b"one"}


def test_who_has_no_credentials_is_let_in_nowhere(weed: Weed, tmp_path: Path) -> None:
    bucket = weed.bucket("closed")
    assert "sipagent" in weed.credentials_file(tmp_path).read_text()
    client = weed.client(signature_version=UNSIGNED)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.list_objects_v2(Bucket=bucket)
