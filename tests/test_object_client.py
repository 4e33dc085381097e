"""One bucket, on both stores of the tests, and what goes wrong with one; what `check` tries;
and the stores themselves, which the tests of `[objects]` build upon."""

import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from retention.objects.bucket import (
    Away,
    Bucket,
    BucketPlace,
    CannotHold,
    Denied,
    Locking,
    NoSuchObject,
    ObjectError,
    open_object,
)
from retention.objects.erase import Trial, erase_hidden, erase_object, try_out
from tests.object_store import Losing, names_in, place_of
from tests.s3 import REGION, Moto, Weed

SOUND = bytes(range(256)) * 4096
CONSTRAINT = {"LocationConstraint": REGION}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def bucket(objects: Moto | Weed, tmp_path: Path) -> Bucket:
    return Bucket(place_of(objects, tmp_path))


@pytest.fixture
def real(weed: Weed, tmp_path: Path) -> Losing:
    """In a store that refuses to remove what is held."""
    return Losing(place_of(weed, tmp_path))


@pytest.fixture
def plain(objects: Moto | Weed, bucket: Bucket) -> Iterator[Bucket]:
    """One without versions or lock."""
    objects.client.create_bucket(Bucket="plain-one", CreateBucketConfiguration=CONSTRAINT)
    yield Bucket(replace(bucket.place, bucket="plain-one"))
    objects.client.delete_bucket(Bucket="plain-one")


def put(bucket: Bucket, name: str, content: bytes = b"some", *, held: bool = False) -> str:
    version = bucket.put(name, content, sha(content), held=held)
    assert version
    return version


def test_what_is_put_is_seen_and_read(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(SOUND)
    with (tmp_path / "file").open("rb") as file:
        version = bucket.put("a", file, sha(SOUND))
    seen = bucket.look("a")
    assert seen is not None and (seen.version, seen.bytes, seen.sha256) == (version, len(SOUND), sha(SOUND))
    assert bucket.content("a") == SOUND and bucket.look("b") is None
    with pytest.raises(NoSuchObject, match="there is no such object"):
        bucket.content("b")
    assert bucket.url("a") == f"s3://{bucket.place.bucket}/{bucket.place.prefix}a"


def test_an_object_is_read_from_anywhere_until_it_is_removed(bucket: Bucket) -> None:
    version = put(bucket, "a", SOUND)
    put(bucket, "a", b"a later one")
    with open_object(bucket, "a", version, len(SOUND)) as file:
        for place, many in ((0, 10), (300_000, 100), (999_999, 5), (7, len(SOUND))):
            file.seek(place)
            assert file.read(many) == SOUND[place : place + many]
        assert file.seek(0, 2) == len(SOUND) and file.read(1) == b""
    with open_object(bucket, "a", version, len(SOUND)) as file:
        bucket.remove("a", version)
        with pytest.raises(FileNotFoundError):
            file.read(10)


def test_every_version_goes_though_none_is_known(objects: Moto | Weed, bucket: Bucket) -> None:
    """Also what a marker of deletion hides."""
    for name in ("a", "a", "recordings/x.json"):
        put(bucket, name)
    objects.client.delete_object(Bucket=bucket.place.bucket, Key=f"{bucket.place.prefix}recordings/x.json")
    assert erase_object(bucket, "a") and not erase_object(bucket, "a")
    erase_hidden(bucket, "x")
    assert names_in(objects, bucket) == [] and list(bucket.versions("recordings/x.") or ()) == []
    versions = [(name, put(bucket, name)) for name in map(str, range(20))]
    assert bucket.remove_many([*versions, ("none", versions[0][1])]) == {} and names_in(objects, bucket) == []


def test_what_is_held_stays_and_is_never_without_its_hold(real: Losing, tmp_path: Path) -> None:
    """Who may not is told so, and what arrives altered is not kept."""
    (tmp_path / "others").write_text("[other]\naws_access_key_id = nobody\naws_secret_access_key = no\n")
    with pytest.raises(Denied, match=r"s3://.*/a: the object store does not know these credentials"):
        Bucket(replace(real.place, credentials=tmp_path / "others")).look("a")
    with pytest.raises(ObjectError, match="BadDigest"):
        real.put("a", b"other", sha(b"some"))
    assert real.look("a") is None
    version = put(real, "a")
    real.hold("a", version, on=True)
    with pytest.raises(Denied, match="hold or a retention"):
        real.remove("a", version)
    assert isinstance(real.remove_many([("a", version)])["a", version], Denied)
    seen = real.look("a")
    assert seen is not None and seen.held
    real.hold("a", version, on=False)
    real.remove("a", version)
    version = put(real, "a", held=True)
    with pytest.raises(Denied):
        real.remove("a", version)
    assert erase_object(real, "a") and real.look("a") is None


def test_a_bucket_says_what_it_keeps(bucket: Bucket, plain: Bucket) -> None:
    assert bucket.locking() == Locking(versions=True, locks=True, default=None)
    assert plain.locking() == Locking(versions=False, locks=False, default=None)
    assert plain.put("a", b"some", sha(b"some")) is None
    with pytest.raises(CannotHold):
        plain.hold("a", None, on=True)
    assert erase_object(plain, "a") and plain.look("a") is None


def test_a_missing_bucket_is_not_an_empty_one(bucket: Bucket) -> None:
    other = Bucket(replace(bucket.place, bucket="no-such-bucket"))
    for ask in (other.look, other.content):  # what is put makes one in the store of the tests
        with pytest.raises(ObjectError, match="there is no such bucket"):
            ask("a")


@pytest.mark.parametrize("text", ["", "[default]\naws_access_key_id = x\n", "not an INI", "[default]\nx\n"])
def test_a_file_without_credentials_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    bucket = Bucket(BucketPlace("b", "", "http://127.0.0.1:1", REGION, tmp_path / "file"))
    with pytest.raises(ObjectError, match=r"^.*/file: is not an INI file with aws_access_key_id and"):
        bucket.look("a")


def test_a_store_that_is_away_and_an_answer_that_is_lost_are_told_in_one_line(
    moto: Moto, tmp_path: Path
) -> None:
    """Of the latter nobody knows whether it was done."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(65536)

        threading.Thread(target=hang_up, daemon=True).start()
        for port in (listener.getsockname()[1], 1):
            bucket = Bucket(place_of(moto, tmp_path, f"http://127.0.0.1:{port}"))
            with pytest.raises(Away) as fault:
                bucket.put("a", b"some", sha(b"some"))
            said = str(fault.value)
            assert said.startswith(f"{bucket.url('a')}: the object store does not answer (")
            assert "\n" not in said


def test_nothing_is_loaded_before_it_is_needed() -> None:
    script = "import sys, retention.objects.object_files; print('boto3' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def tried(bucket: Bucket) -> Trial:
    (found,) = try_out(bucket)
    return found


def test_a_bucket_that_keeps_its_word(real: Losing, weed: Weed) -> None:
    """What a check that was killed has left goes with the next."""
    failing = iter([False, True])  # put, and then the store is away
    real.failing = lambda what, name: next(failing, True)
    found = tried(real)
    assert found.level == "error" and "does not answer" in found.said
    (left,) = names_in(weed, real)
    assert left.startswith("check/")
    real.failing = lambda what, name: False
    assert tried(real) == Trial("ok", "keeps versions and legal holds, and removes what it must")
    assert names_in(weed, real) == [] and {what for what, _ in real.asked} == {"put", "remove"}


def test_a_bucket_that_only_pretends_to_hold(
    bucket: Bucket, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a hold and forgets it, as some stores were seen to."""
    monkeypatch.setattr(bucket, "hold", lambda name, version, on: None)
    found = tried(bucket)
    assert found.level == "error" and "takes a legal hold and does not keep it" in found.said
    assert names_in(moto, bucket) == []


def test_a_retention_that_would_defeat_a_refusal(real: Losing, weed: Weed) -> None:
    bucket = Bucket(replace(real.place, bucket=weed.bucket("locked-by-default")))
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    weed.client.put_object_lock_configuration(
        Bucket=bucket.place.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    found = tried(bucket)
    assert found.level == "error" and "gives every object a retention (compliance)" in found.said
    assert names_in(weed, bucket) == []


def test_a_bucket_without_versions_or_lock(real: Losing, weed: Weed) -> None:
    client, bucket = weed.client, Bucket(replace(real.place, bucket="no-lock"))
    client.create_bucket(Bucket="no-lock", CreateBucketConfiguration=CONSTRAINT)
    found = tried(bucket)
    assert (found.level, found.said.partition(",")[0]) == ("warning", "keeps no versions")
    client.put_bucket_versioning(Bucket="no-lock", VersioningConfiguration={"Status": "Enabled"})
    found = tried(bucket)
    assert (found.level, found.said.partition(":")[0]) == ("warning", "has no object lock")
    assert names_in(weed, bucket) == []
