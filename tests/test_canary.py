"""Whether a bucket does what it says: `check` tries it, and leaves nothing behind."""

from dataclasses import replace
from pathlib import Path

import pytest

from retention.objects.bucket import Bucket, BucketPlace
from retention.objects.erase import Trial, try_out
from tests.object_store import Losing, names_in, place_of
from tests.s3 import REGION, Moto, Weed


class Pretending(Bucket):
    """Takes a hold and forgets it, as some stores were seen to."""

    def hold(self, name: str, version: str | None, *, on: bool) -> None:
        pass


def tried(bucket: Bucket) -> list[Trial]:
    return [*try_out(bucket)]


def test_a_bucket_that_keeps_its_word(weed: Weed, tmp_path: Path) -> None:
    bucket = Losing(place_of(weed, tmp_path))
    assert tried(bucket) == [Trial("ok", "keeps versions and legal holds, and removes what it must")]
    assert names_in(weed, bucket) == [] and {what for what, _ in bucket.asked} == {"put", "remove"}


def test_a_bucket_that_only_pretends_to_hold(moto: Moto, tmp_path: Path) -> None:
    bucket = Pretending(place_of(moto, tmp_path))
    (found,) = tried(bucket)
    assert found.level == "error" and "takes a legal hold and does not keep it" in found.said
    assert names_in(moto, bucket) == []


def test_what_a_killed_check_has_left_goes_with_the_next(weed: Weed, tmp_path: Path) -> None:
    bucket = Losing(place_of(weed, tmp_path))
    failing = iter([False, True])  # put, and then the store is away

    def away(what: str, name: str) -> bool:
        return next(failing, True)

    bucket.failing = away
    (found,) = tried(bucket)
    assert found.level == "error" and "does not answer" in found.said
    (left,) = names_in(weed, bucket)
    assert left.startswith("check/")
    bucket.failing = lambda what, name: False
    assert [trial.level for trial in tried(bucket)] == ["ok"] and names_in(weed, bucket) == []


def test_a_retention_that_would_defeat_a_refusal(weed: Weed, tmp_path: Path) -> None:
    place = replace(place_of(weed, tmp_path), bucket="locked-by-default")
    client = weed.client()
    weed.bucket(place.bucket)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    client.put_object_lock_configuration(
        Bucket=place.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    bucket = Bucket(place)
    (found,) = tried(bucket)
    assert found.level == "error" and "gives every object a retention (compliance)" in found.said
    assert names_in(weed, bucket) == []


def test_a_bucket_without_versions_or_lock(weed: Weed, tmp_path: Path) -> None:
    client, place = weed.client(), place_of(weed, tmp_path)
    client.create_bucket(Bucket="no-lock", CreateBucketConfiguration={"LocationConstraint": REGION})
    bucket = Bucket(replace(place, bucket="no-lock"))
    (found,) = tried(bucket)
    assert (found.level, found.said.partition(",")[0]) == ("warning", "keeps no versions")
    client.put_bucket_versioning(Bucket="no-lock", VersioningConfiguration={"Status": "Enabled"})
    (found,) = tried(bucket)
    assert (found.level, found.said.partition(":")[0]) == ("warning", "has no object lock")
    assert names_in(weed, bucket) == []


@pytest.mark.parametrize("problem", ["nowhere", "nobody", "no bucket"])
def test_a_store_that_cannot_be_asked(problem: str, weed: Weed, tmp_path: Path) -> None:
    place: BucketPlace = place_of(weed, tmp_path)
    (tmp_path / "others").write_text("[x]\naws_access_key_id = nobody\naws_secret_access_key = no\n")
    wrong = {
        "nowhere": (replace(place, endpoint="http://127.0.0.1:1"), "does not answer"),
        "nobody": (replace(place, credentials=tmp_path / "others"), "does not know these credentials"),
        "no bucket": (replace(place, bucket="no-such-bucket"), "there is no such bucket"),
    }
    bad, said = wrong[problem]
    found = tried(Bucket(bad))
    assert [trial.level for trial in found] == ["error"] and said in found[0].said
