"""[cluster], [objects] and a database that hosts share: what they take, and what has to be there together."""

from pathlib import Path

import pytest

from retention.records import begun_at, host_of, is_id, new_id, reference_of, worker_of
from sipagent.agent.admission import admission
from tests.configured import SMALL, read, with_keys, wrong
from tests.kept import START
from tests.loopback import ROOT

URL = "postgresql://sipagent@db.example.net/sipagent"
SHARED = with_keys("retention", f'database = "{URL}"', with_keys("cluster", 'host = "a"'))
SEALED = with_keys("recording", 'recipients = ["keys/quality.pub"]')


def objects(keys: str, text: str = SEALED) -> str:
    return with_keys("objects", keys, text)


def test_one_host_needs_none_of_it() -> None:
    alone = read(SMALL)
    assert (alone.shared, alone.host, alone.cluster, alone.objects) == (None, None, None, None)
    assert alone.database == Path("/etc/sipagent/retention.db") == alone.places.database


def test_hosts_share_a_database_and_each_has_its_journal() -> None:
    config = read(SHARED)
    assert (config.shared, config.host) == (URL, "a")
    assert config.places.database == config.database == Path("/etc/sipagent/journal.db")
    assert config.cluster is not None and config.cluster.lease_s == 12.0
    moved = read(with_keys("cluster", 'host = "b2"\njournal = "state/j.db"\nlease_s = 30.0', SHARED))
    assert moved.database == Path("/etc/sipagent/state/j.db") and moved.host == "b2"


@pytest.mark.parametrize(
    "url", [URL, "postgres://h/d", "postgresql://a,b:5433/d?target_session_attrs=read-write"]
)
def test_addresses_are_those_of_libpq(url: str) -> None:
    assert read(with_keys("retention", f'database = "{url}"', SHARED)).shared == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://u:secret@h/d", "has a password, which belongs in retention.database_password_file"),
        ("postgresql://h/", "names no database"),
        ("postgresql://h/d?no_such=1", "is not a postgresql URL"),
        ("mysql://h/d", "is not a postgresql URL"),
    ],
)
def test_what_is_no_database(url: str, problem: str) -> None:
    said = wrong(with_keys("retention", f'database = "{url}"', SHARED))
    assert said.startswith("retention.database: ") and problem in said
    assert "accepted: a file, or postgresql://user@host/database" in said


def test_a_password_is_never_shown() -> None:
    said = wrong(with_keys("retention", 'database = "postgresql://u:secret@h/d"', SHARED))
    assert "secret" not in said and "'postgresql://u:…@h/d'" in said


def test_the_password_is_the_files(tmp_path: Path) -> None:
    assert read(SHARED).shared_password() is None
    (tmp_path / "password").write_text("s3cret\n")
    text = with_keys("retention", f'database = "{URL}"\ndatabase_password_file = "password"', SHARED)
    assert read(text, tmp_path / "config.toml").shared_password() == "s3cret"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (with_keys("cluster", 'host = "a"'), "cluster.host: given without a database that hosts share"),
        (with_keys("retention", f'database = "{URL}"'), "cluster.host: absent, where hosts share a database"),
        (
            with_keys("retention", 'database_password_file = "p"'),
            "retention.database_password_file: given without a database that asks for one",
        ),
        (objects('url = "s3://calls"', SMALL), "objects.url: recordings would leave this host in clear"),
        (with_keys("cluster", 'host = "Host A"', SHARED), "cluster.host: 'Host A' is not a short name"),
        (objects('url = "https://b/p"'), "objects.url: 'https://b/p' is not the URL of a bucket"),
        (objects('url = "s3://B/p"'), "objects.url: 's3://B/p' is not the URL of a bucket"),
    ],
)
def test_what_has_to_be_there_together(text: str, said: str) -> None:
    assert wrong(text).startswith(said)


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [("s3://calls", "calls", ""), ("s3://calls/", "calls", ""), ("s3://my.calls/a/b", "my.calls", "a/b/")],
)
def test_buckets(url: str, bucket: str, prefix: str) -> None:
    there = read(objects(f'url = "{url}"\nendpoint = "http://127.0.0.1:8333"')).objects
    assert there is not None and (there.bucket, there.prefix) == (bucket, prefix)
    assert there.endpoint == "http://127.0.0.1:8333" and there.credentials_file is None


@pytest.mark.parametrize("worker", [None, 3])
@pytest.mark.parametrize("host", [None, "a", "w3", "paris1"])
def test_ids_name_the_host_and_the_worker(host: str | None, worker: int | None) -> None:
    id = new_id(START, worker, host)
    assert is_id(id) and (host_of(id), worker_of(id), begun_at(id)) == (host, worker, START)
    assert len(reference_of(id)) == 6


def test_calls_have_ids_of_their_host() -> None:
    of = [admission(read(text, ROOT / "config.toml")).host for text in (SHARED, SMALL)]
    assert of == ["a", None]
