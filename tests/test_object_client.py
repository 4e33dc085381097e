"""One bucket, on both stores of the tests; and what goes wrong with one, each in one line."""

import hashlib
import subprocess
import sys
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
from retention.objects.erase import erase_hidden, erase_object
from tests import tiers
from tests.object_store import names_in, place_of
from tests.s3 import REGION, Moto, Weed

SOUND = bytes(range(256)) * 4096


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(params=tiers.first("moto", "weed"))
def store(request: pytest.FixtureRequest) -> Moto | Weed:
    found: Moto | Weed = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def bucket(store: Moto | Weed, tmp_path: Path) -> Bucket:
    return Bucket(place_of(store, tmp_path))


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
    assert bucket.content("a") == SOUND
    assert bucket.look("b") is None
    with pytest.raises(NoSuchObject, match="there is no such object"):
        bucket.content("b")
    assert bucket.url("a") == f"s3://{bucket.place.bucket}/{bucket.place.prefix}a"


def test_what_arrives_altered_is_not_kept(weed: Weed, tmp_path: Path) -> None:
    bucket = Bucket(place_of(weed, tmp_path))
    with pytest.raises(ObjectError, match="BadDigest"):
        bucket.put("a", b"other", sha(b"some"))
    assert bucket.look("a") is None


def test_an_object_is_read_from_anywhere(bucket: Bucket) -> None:
    version = put(bucket, "a", SOUND)
    put(bucket, "a", b"a later one")
    with open_object(bucket, "a", version, len(SOUND)) as file:
        assert file.read(10) == SOUND[:10]
        file.seek(300_000)
        assert file.read(100) == SOUND[300_000:300_100]
        file.seek(999_999)
        assert file.read(5) == SOUND[999_999:1_000_004]
        file.seek(7)
        assert file.read() == SOUND[7:]
        assert file.seek(0, 2) == len(SOUND) and file.read(1) == b""


def test_what_was_removed_meanwhile_is_not_read_on(bucket: Bucket) -> None:
    version = put(bucket, "a", SOUND)
    with open_object(bucket, "a", version, len(SOUND)) as file:
        bucket.remove("a", version)
        with pytest.raises(FileNotFoundError):
            file.read(10)


def test_every_version_goes_though_none_is_known(store: Moto | Weed, bucket: Bucket) -> None:
    for content in (b"one", b"two", b"three"):
        put(bucket, "a", content)
    assert erase_object(bucket, "a") and names_in(store, bucket) == []
    assert not erase_object(bucket, "a")


def test_what_a_marker_hides_goes_too(store: Moto | Weed, bucket: Bucket) -> None:
    put(bucket, "recordings/x.json")
    store.client().delete_object(Bucket=bucket.place.bucket, Key=f"{bucket.place.prefix}recordings/x.json")
    erase_hidden(bucket, "x")
    assert list(bucket.versions("recordings/x.") or ()) == []


def test_many_go_at_once(store: Moto | Weed, bucket: Bucket) -> None:
    versions = [(name, put(bucket, name)) for name in map(str, range(20))]
    assert bucket.remove_many([*versions, ("none", versions[0][1])]) == {}
    assert names_in(store, bucket) == []


def test_what_is_held_stays(weed: Weed, tmp_path: Path) -> None:
    bucket = Bucket(place_of(weed, tmp_path))
    version = put(bucket, "a")
    bucket.hold("a", version, on=True)
    with pytest.raises(Denied, match="hold or a retention"):
        bucket.remove("a", version)
    assert isinstance(bucket.remove_many([("a", version)])["a", version], Denied)
    seen = bucket.look("a")
    assert seen is not None and seen.held
    bucket.hold("a", version, on=False)
    bucket.remove("a", version)
    assert bucket.look("a") is None


def test_what_is_put_on_hold_is_never_without_it(weed: Weed, tmp_path: Path) -> None:
    bucket = Bucket(place_of(weed, tmp_path))
    version = put(bucket, "a", held=True)
    with pytest.raises(Denied):
        bucket.remove("a", version)
    assert erase_object(bucket, "a") and bucket.look("a") is None


def test_a_bucket_says_what_it_keeps(store: Moto | Weed, bucket: Bucket) -> None:
    assert bucket.locking() == Locking(versions=True, locks=True, default=None)
    store.client().create_bucket(Bucket="plain-one", CreateBucketConfiguration={"LocationConstraint": REGION})
    plain = Bucket(replace(bucket.place, bucket="plain-one"))
    assert plain.locking() == Locking(versions=False, locks=False, default=None)
    assert plain.put("a", b"some", sha(b"some")) is None
    with pytest.raises(CannotHold):
        plain.hold("a", None, on=True)
    assert erase_object(plain, "a") and plain.look("a") is None
    store.client().delete_bucket(Bucket="plain-one")


def test_a_missing_bucket_is_not_an_empty_one(bucket: Bucket) -> None:
    other = Bucket(replace(bucket.place, bucket="no-such-bucket"))
    for ask in (other.look, other.content):  # what is put makes one in the store of the tests
        with pytest.raises(ObjectError, match="there is no such bucket"):
            ask("a")


def test_who_may_not_is_told_so(weed: Weed, tmp_path: Path) -> None:
    place = place_of(weed, tmp_path)
    (tmp_path / "others").write_text("[other]\naws_access_key_id = nobody\naws_secret_access_key = no\n")
    with pytest.raises(Denied, match=r"s3://.*/a: the object store does not know these credentials"):
        Bucket(replace(place, credentials=tmp_path / "others")).look("a")


@pytest.mark.parametrize("text", ["", "[default]\naws_access_key_id = x\n", "not an INI", "[default]\nx\n"])
def test_a_file_without_credentials_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    bucket = Bucket(BucketPlace("b", "", "http://127.0.0.1:1", REGION, tmp_path / "file"))
    with pytest.raises(ObjectError, match=r"^.*/file: is not an INI file with aws_access_key_id and"):
        bucket.look("a")


def test_a_store_that_is_away_is_told_in_one_line(tmp_path: Path, moto: Moto) -> None:
    place = BucketPlace("b", "", "http://127.0.0.1:1", REGION, moto.credentials_file(tmp_path))
    with pytest.raises(Away) as fault:
        Bucket(place).look("a")
    assert str(fault.value).startswith("s3://b/a: the object store does not answer (")
    assert "\n" not in str(fault.value)


def test_nothing_is_loaded_before_it_is_needed() -> None:
    script = "import sys, retention.objects.object_files; print('boto3' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
