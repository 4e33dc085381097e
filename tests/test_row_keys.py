"""Keys of rows: that they come and go with their rows, and that none comes back."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from retention.objects.bucket import Bucket
from retention.objects.object_files import ObjectBlobs, RisingBlobs
from retention.postgres import row_keys as keys_module
from retention.postgres.row_keys import (
    MOST_KEYS,
    FolderBlobs,
    KeyKind,
    Revision,
    RowKeys,
    bundle_content,
    read_bundle,
)
from retention.postgres.store import SealedStore
from retention.records import Receipt
from retention.rows.rows import StoreError, TryAgain
from retention.rows.selection import Selection
from tests.crashing import killed_before
from tests.kept import CALLER, bytes_under, receipt, recording
from tests.object_store import Losing, place_of
from tests.postgres import Server, fresh
from tests.s3 import Moto, Weed
from tests.sealed import WatchedBlobs, ask, keys_in, row_keys, run, sealed_store, tables

TABLES_OF_DATABASE = tables
"""What the fixture `database` begins with."""


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "vault"


Opens = Callable[..., RowKeys]


@pytest.fixture
def opens(database: str, vault: Path) -> Iterator[Opens]:
    """Another process of host a, with this vault."""
    with ExitStack() as stack:
        yield lambda blobs=vault: stack.enter_context(closing(row_keys(database, blobs, "a")))


@pytest.fixture
def keys(opens: Opens) -> RowKeys:
    return opens()


def id_of(number: int) -> str:
    return f"20261127T100000000-{number:06d}"


def write_row(database: str, key: str, number: int = 1) -> None:
    columns = "id, started_at, decision, chain_seq, sealed, key"
    values = "?, '2026-11-27T10:00:00.000Z', 'allowed', 1, 'x', ?"
    run(database, f"INSERT INTO receipts ({columns}) VALUES ({values})", id_of(number), key)


def forget_row(database: str, number: int = 1) -> None:
    run(database, "UPDATE receipts SET sealed = NULL, key = NULL WHERE id = ?", id_of(number))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_key_is_in_the_vault_before_it_is_given_for_its_owner_alone(
    keys: RowKeys, vault: Path, opens: Opens
) -> None:
    key = keys.take()
    assert keys_in(vault) == {key.name: key.raw} and len(key.raw) == 32
    (bundle,) = files_in(vault)
    assert bundle.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in [vault, *bundle.parents[:2]]} == {0o700}
    other = opens()  # another process opens it
    found = other.get([key.name, f"{key.name}0", "no-such-bundle/1234"])  # a key of nothing is gone
    assert (found.keys, found.lost) == ({key.name: key.raw}, {})


def test_the_database_never_has_a_key(keys: RowKeys, database: str, postgres: Server) -> None:
    key = keys.take()
    write_row(database, key.name)
    postgres.checkpoint()
    contents = bytes_under(postgres.data)
    assert key.name.encode() in contents
    assert not any(form in contents for form in (key.raw, key.raw.hex().encode(), b64encode(key.raw)))


def test_a_key_serves_one_row(keys: RowKeys, database: str) -> None:
    key = keys.take()
    write_row(database, key.name)
    with pytest.raises(psycopg.errors.UniqueViolation):
        write_row(database, key.name, 2)
    forget_row(database)
    with pytest.raises(psycopg.errors.SerializationFailure, match="in use, or going"):
        write_row(database, key.name, 2)


def test_a_key_that_no_row_took_goes(keys: RowKeys, database: str, vault: Path) -> None:
    key = keys.take()
    assert keys.forget().keys == 0 and key.name in keys_in(vault)
    run(database, "UPDATE key_removals SET since = since - interval '20 minutes'")
    assert keys.forget().keys == 1 and keys_in(vault) == {}
    with pytest.raises(psycopg.errors.SerializationFailure, match="in use, or going"):
        write_row(database, key.name)


def test_keys_that_waited_for_long_are_not_given(keys: RowKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.reserve(3)
    monkeypatch.setattr(keys_module, "UNUSED_S", -1.0)
    names = {key.name for key in keys._stocks[KeyKind.ROW].keys}
    assert keys.take().name not in names


def test_a_batch_makes_one_revision(vault: Path, opens: Opens) -> None:
    blobs = WatchedBlobs(vault)
    keys = opens(blobs)
    keys.reserve(200)
    assert len({keys.take().name for _ in range(200)}) == 200
    assert blobs.count("put") == 1
    keys.reserve(200)
    assert blobs.count("put") == 2 and blobs.count("remove") == 1


def test_a_bundle_has_no_more_keys_than_it_may(keys: RowKeys, database: str) -> None:
    for count in (250, 250, 200, 200):
        keys.reserve(count)
        for _ in range(count):
            keys.take()
    names = [row["names"] for row in ask(database, "SELECT names FROM key_bundles ORDER BY made")]
    assert names == [MOST_KEYS, 400]


def test_a_reader_finds_what_is_replaced_while_it_looks(vault: Path, opens: Opens) -> None:
    writer = opens()
    key = writer.take()

    def replace(step: str, name: str) -> None:
        if step == "get" and blobs.count("get") < 3:
            writer.reserve(10 * blobs.count("get"))

    blobs = WatchedBlobs(vault, replace)
    reader = opens(blobs)
    assert reader.get([key.name]).keys == {key.name: key.raw}
    assert blobs.count("get") == 3


def test_a_bundle_is_read_once_a_minute(
    database: str, vault: Path, monkeypatch: pytest.MonkeyPatch, opens: Opens
) -> None:
    writer = opens()
    writer.reserve(50)
    names = [writer.take().name for _ in range(50)]
    blobs = WatchedBlobs(vault)
    reader = opens(blobs)
    for _ in range(3):
        assert len(reader.get(names).keys) == 50
    assert blobs.count("get") == 1
    monkeypatch.setattr(keys_module, "FRESH_S", -1.0)
    forgotten = writer.take()
    write_row(database, names[0])
    forget_row(database)
    writer.forget()
    assert set(reader.get([*names, forgotten.name]).keys) == {*names[1:], forgotten.name}


def test_a_database_older_than_the_vault_goes_on(
    keys: RowKeys, database: str, vault: Path, opens: Opens
) -> None:
    """A standby that was promoted, or a backup: what rows had since is found, what was forgotten is not."""
    first, second = keys.take(), keys.take()
    write_row(database, first.name)
    write_row(database, second.name, 2)
    before = ask(database, "SELECT * FROM key_bundles")[0]
    forget_row(database)
    keys.forget()
    third = keys.take()
    run(database, "UPDATE key_bundles SET revision = ?, last = ?", before["revision"], before["last"])
    run(database, "DELETE FROM key_removals")
    other = opens()
    assert set(other.get([first.name, second.name, third.name]).keys) == {second.name, third.name}
    fourth = other.take()
    assert {second.name, third.name, fourth.name} <= set(keys_in(vault)) and first.name not in keys_in(vault)
    assert len(files_in(vault)) == 1
    going = {row["key"] for row in ask(database, "SELECT key FROM key_removals WHERE NOT due")}
    assert {third.name, fourth.name} <= going and second.name not in going  # no row has them yet


def test_what_was_named_but_not_replicated_is_not_swept(
    keys: RowKeys, database: str, vault: Path, opens: Opens
) -> None:
    key, other = keys.take(), keys.take()
    write_row(database, key.name)
    bundle = ask(database, "SELECT * FROM key_bundles")[0]
    run(database, "UPDATE key_bundles SET revision = revision - 1")
    run(
        database,
        "INSERT INTO key_revisions (bundle, revision, state, since) "
        "VALUES (?, ?, 'putting', clock_timestamp() - interval '1 hour')",
        bundle["bundle"],
        bundle["revision"],
    )
    restored = opens()
    assert restored.forget().problem == "" and restored.left() == 0
    assert {key.name, other.name} <= set(keys_in(vault))
    assert key.name in restored.get([key.name]).keys


def test_a_bundle_that_is_damaged_or_lost_is_told_and_not_taken_for_forgotten(
    keys: RowKeys, database: str, vault: Path, opens: Opens
) -> None:
    key = keys.take()
    write_row(database, key.name)
    (path,) = files_in(vault)
    held = Revision(path.parent.name, int(path.name))
    earlier, there = replace(held, number=held.number - 1), read_bundle(held, path.read_bytes())
    path.write_bytes(path.read_bytes()[:-20])
    reader = opens()
    assert "damaged" in reader.get([key.name]).lost[key.name]
    path.unlink()
    # what a backup of the vault brings back counts for nothing
    FolderBlobs(vault).put(earlier.name, bundle_content(earlier, there))
    reader = opens()
    found = reader.get([key.name])
    assert found.keys == {} and str(path) in found.lost[key.name]
    assert reader.take().name.partition("/")[0] != key.name.partition("/")[0]  # rows of today have another
    forget_row(database)
    gone = reader.forget()
    assert (gone.keys, gone.left) == (0, 1) and str(path) in gone.problem


def test_a_vault_that_does_not_answer_is_tried_again(database: str, vault: Path, opens: Opens) -> None:
    def refuse(step: str, name: str) -> None:
        if refusing:
            raise OSError(5, "Input/output error", name)

    refusing = False
    keys = opens(WatchedBlobs(vault, refuse))
    key = keys.take()
    write_row(database, key.name)
    forget_row(database)
    refusing = True
    gone = keys.forget()
    assert (gone.keys, gone.left) == (0, 1) and "Input/output error" in gone.problem
    with pytest.raises(TryAgain, match="wait, nothing is lost"):
        keys.reserve(500)
    refusing = False
    gone = keys.forget()
    assert gone.keys == 1 and gone.left == 0 and key.name not in keys_in(vault)


@pytest.mark.parametrize("step", ["get", "put", "remove"])
@pytest.mark.parametrize("at", range(4))
def test_no_fault_at_any_step_brings_a_key_back_or_loses_one(
    database: str, vault: Path, step: str, at: int, opens: Opens
) -> None:
    def fail(name: str, _: str) -> None:
        if name == step:
            counted.append(name)
            if len(counted) == at + 1:
                raise OSError(5, "Input/output error")

    counted: list[str] = []
    keys = opens(WatchedBlobs(vault))
    taken = [keys.take() for _ in range(3)]
    for number, key in enumerate(taken):
        write_row(database, key.name, number)
    failing = opens(WatchedBlobs(vault, fail))
    for number in (0, 1):
        forget_row(database, number)
        try:
            failing.forget()
            failing.reserve(400)
        except StoreError:
            pass  # the vault said so
    clean = opens()
    run(database, "UPDATE key_revisions SET since = since - interval '2 minutes'")
    gone = clean.forget()
    assert gone.left == clean.left() == 0
    there = keys_in(vault)
    assert taken[2].name in there and not {taken[0].name, taken[1].name} & set(there)
    assert clean.get([taken[2].name]).keys == {taken[2].name: taken[2].raw}


@pytest.mark.parametrize("step", ["get", "put", "remove"])
def test_a_connection_that_is_lost_between_two_steps_loses_no_key(
    database: str, vault: Path, postgres: Server, step: str, opens: Opens
) -> None:
    def cut(name: str, _: str) -> None:
        if name == step and not cuts:
            cuts.append(name)
            cut_off = database.rpartition("/")[2]
            sql = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{cut_off}'"
            postgres.execute(sql)

    cuts: list[str] = []
    with closing(row_keys(database, vault, "a")) as maker:
        taken = [maker.take() for _ in range(2)]
    for number, key in enumerate(taken):
        write_row(database, key.name, number)
    keys = opens(WatchedBlobs(vault, cut))
    forget_row(database, 0)
    with suppress(TryAgain):
        keys.forget()
    assert cuts
    assert keys.get([taken[1].name]).keys == {taken[1].name: taken[1].raw}
    made = keys.take()
    assert keys.forget().left == 0
    assert taken[0].name not in keys_in(vault) and {taken[1].name, made.name} <= set(keys_in(vault))
    assert len(files_in(vault)) == 1


def test_hosts_that_change_one_bundle_at_once_bring_no_key_back(
    database: str, vault: Path, opens: Opens
) -> None:
    maker = opens()
    maker.reserve(120)
    taken = [maker.take() for _ in range(120)]
    for number, key in enumerate(taken):
        write_row(database, key.name, number)

    def forget(part: int) -> None:
        with closing(row_keys(database, vault, "a")) as own:
            for number in range(part, 100, 4):
                forget_row(database, number)
                own.forget()
                own.take()

    with ThreadPoolExecutor(4) as hosts:
        list(hosts.map(forget, range(4)))
    run(database, "UPDATE key_revisions SET since = since - interval '2 minutes'")
    assert maker.forget().left == 0
    there = set(keys_in(vault))
    assert not there & {key.name for key in taken[:100]} and {key.name for key in taken[100:]} <= there
    bundles = {name.partition("/")[0] for name in there}
    assert len(files_in(vault)) == len(bundles)


# --- in a store of objects that keeps every version: what is forgotten is in none of them ---


def keys_in_all_versions(objects: Moto | Weed, bucket: Bucket) -> dict[str, bytes]:
    """Whatever can still be read there."""
    client, place = objects.client, bucket.place
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
    with sealed_store(database, RisingBlobs(bucket, files), host="a") as store:
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
    with sealed_store(database, RisingBlobs(bucket, files), host="a") as store:
        assert store.bring_up(files) == 0
    assert keys_in(tmp_path / "vault") == before != {}


# --- killed at every step: the next purge finishes it ---


def keys_of(database: str) -> dict[str, str | None]:
    return {row["id"]: row["key"] for row in ask(database, "SELECT id, key FROM receipts")}


def finished(store: SealedStore, database: str) -> None:
    """What the next purge does, a quarter of an hour later."""
    since = "SET since = since - interval '20 minutes'"
    for table in ("key_removals", "key_revisions"):
        run(database, f"UPDATE {table} {since}")
    gone = store.forget_keys()
    assert (gone.left, gone.problem) == (0, "") and store.keys_left() == 0


def assert_whole(store: SealedStore, database: str, vault: Path, kept: list[Receipt]) -> None:
    """The vault has the keys of what is kept, and no others; each bundle once."""
    needed = {row["key"] for row in ask(database, "SELECT key FROM receipts WHERE key IS NOT NULL")}
    needed |= {row["key"] for row in ask(database, "SELECT key FROM search_keys WHERE key IS NOT NULL")}
    assert set(keys_in(vault)) == needed
    files = [path for path in vault.rglob("*") if path.is_file()]
    assert len(files) == len({path.parent for path in files})
    store.keys._remembered.clear()
    assert {one.id: one for one in store.receipts() if one.caller} == {one.id: one for one in kept}
    assert {one.id for one in store.receipts(Selection(number=CALLER))} == {one.id for one in kept}


@pytest.mark.slow
def test_killed_at_each_step_of_forgetting(database: str, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    died, number, kept = set(), 0, []
    while True:
        with sealed_store(database, vault, host="a") as store:
            gone, stays = receipt(recording(10 * number)), receipt(recording(10 * number + 1))
            for one in (gone, stays):
                store.add_receipt(one)
            kept.append(stays)
        key = keys_of(database)[gone.id]

        def forget(one: Receipt = gone) -> None:
            with sealed_store(database, vault, host="a") as store:
                store.update_receipt(one.anonymous())

        step = killed_before(number, forget)
        with sealed_store(database, vault, host="b") as store:
            if store.receipt(gone.id).caller is not None:
                store.update_receipt(gone.anonymous())
            finished(store, database)
            assert key not in keys_in(vault)
            assert_whole(store, database, vault, kept)
        if step is None:
            break
        died.add(step.partition(" ")[0])
        number += 1
    assert died >= {"create", "write", "half", "sync", "replace", "unlink"} and number > 10


@pytest.mark.slow
def test_killed_at_each_step_of_keeping(database: str, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    kept: list[Receipt] = []
    number = 0
    while True:
        one = receipt(recording(10 * number))

        def add(one: Receipt = one) -> None:
            with sealed_store(database, vault, host="a") as store:
                store.add_receipt(one)

        step = killed_before(number, add)
        with sealed_store(database, vault, host="a") as store:
            store.keep_receipt(one)
            kept.append(one)
            finished(store, database)
            assert_whole(store, database, vault, kept)
        if step is None:
            break
        number += 1
    assert number > 5
