"""What is purged is found nowhere any more: not in what PostgreSQL remembers, with every key there still is.

A primary with an archive of its log, a standby that streams, a base backup of before, and a server's log that
keeps every statement with its values.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from retention import outbox
from retention.archive import Archive
from retention.erase import delete
from retention.postgres import store as sealing
from retention.postgres.store import SealedStore, first_of, hash_of, unsealed, user_part
from retention.purge import Terms, purge
from retention.records import Access, Approval, Event, Note, RecordError, Recording, due_date
from retention.rows.pages import Row
from retention.rows.selection import Selection
from retention.verify import verify
from sipagent.check.retention import _keys
from tests.kept import START, archive_of, keep, recording
from tests.postgres import Server, fresh, primary
from tests.sealed import WatchedBlobs, ask, keys_in, sealed_store, tables

T = TypeVar("T")
TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="6 months")
LATER = START + timedelta(days=200)  # when the first calls have expired, and the last have not
YOUNG = 60 * 24 * 100  # minutes after START

# who called and was called, by what happens to the call
CALLERS = {"purged": "+33611223344", "deleted": "+33655667788", "kept": "+33699887766"}
OPERATORS = {
    "purged": "sip:zoé.lefèvre@pbx.example.net",
    "deleted": "sip:hugo.garnier@pbx.example.net",
    "kept": "sip:inès.marchand@pbx.example.net",
}
TEXTS = {
    "purged": "Mme Aurore Vasseur a menacé l’accueil",
    "deleted": "M. Béranger Thiébaut demande l’effacement",
    "kept": "Mlle Capucine Delorme reviendra lundi",
}
ASKED = {"purged": "amélie.roux", "deleted": "boris.klein", "kept": "cécile.maury"}
REFERENCES = {"purged": "PV-1111/26", "deleted": "PV-2222/26", "kept": "PV-3333/26"}
FATES = tuple(CALLERS)


def texts_of(fate: str) -> list[str]:
    caller, operator = CALLERS[fate], OPERATORS[fate]
    more = (TEXTS[fate], ASKED[fate], REFERENCES[fate])
    return [caller, caller[1:], operator, user_part(operator), *more]


@dataclass
class Written:
    """Everything that was ever sealed, also in transactions that were undone."""

    boxes: dict[bytes, tuple[str, str | int, dict[str, object]]] = field(default_factory=dict)

    def spy(self, sealed: Callable[..., bytes]) -> Callable[..., bytes]:
        def watched(key: bytes, table: str, id: str | int, columns: Mapping[str, object]) -> bytes:
            box = sealed(key, table, id, columns)
            self.boxes[box] = (table, id, dict(columns))
            return box

        return watched

    def opened_by(self, keys: Mapping[str, bytes]) -> list[Row]:
        """What these keys open of all that."""
        found = []
        for box, (table, id, _) in self.boxes.items():
            for key in keys.values():
                with suppress(RecordError):
                    found.append({"table": table, "id": id, **unsealed(key, table, id, box)})
        return found


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    written = Written()
    monkeypatch.setattr(sealing, "sealed", written.spy(sealing.sealed))
    return written


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    archived = tmp_path / "archived"
    archived.mkdir()
    archived.chmod(0o777)
    for folder in [archived, *archived.parents][:4]:
        folder.chmod(folder.stat().st_mode | 0o011)
    settings = {
        "archive_mode": "on",
        "archive_command": f"cp %p {archived}/%f",
        "full_page_writes": "on",
        "wal_log_hints": "on",
        "logging_collector": "on",
        "log_directory": "log",
        "log_statement": "all",
        "log_min_messages": "debug1",
        "log_parameter_max_length": "-1",
        "log_parameter_max_length_on_error": "-1",
        "log_min_duration_statement": "0",
        "shared_preload_libraries": "pg_stat_statements",
        "track_activity_query_size": "64kB",
    }
    with primary(settings=settings) as server:
        yield server


def call(store: SealedStore, of: Recording, fate: str, archive: Archive) -> None:
    """All that may be kept of a call, written as it comes: little by little, with a hold that is released,
    and once more in a transaction that is undone."""
    sound = keep(archive, of)
    at = of.started_at
    outbox.tell_alert(store, f"{of.operator} of {of.caller} in {of.id}", of.id, at, at)
    outbox.due(store, at, 9)
    with suppress(RuntimeError), store.write():
        store.update_receipt(replace(store.receipt(of.id), keyword=TEXTS[fate]))
        store.add_access(Access(at=at, action="play", recording_id=of.id, by=ASKED[fate], detail=TEXTS[fate]))
        raise RuntimeError
    there = store.receipt(of.id)
    for minute in range(3):
        events = (*there.events, Event(at=at, what=f"{minute} {TEXTS[fate]}", by=OPERATORS[fate]))
        there = replace(there, events=events)
        store.update_receipt(there)
    hold = {"ground": "criminal", "by": ASKED[fate], "approved_by": "x", "review": "2027-01-01"}
    store.update_recording(replace(sound, hold=hold | {"reference": REFERENCES[fate]}))
    store.update_recording(sound)
    access = Access(at=at, action="play", recording_id=of.id, by=ASKED[fate], login=ASKED[fate])
    store.add_access(replace(access, reference=REFERENCES[fate], detail=TEXTS[fate], system_user="www"))
    expires = due_date(at, "6 months")
    store.add_note(Note(recording_id=of.id, at=at, by=ASKED[fate], text=TEXTS[fate], expires_at=expires))
    approval = Approval(at=at, action="hold", recording_id=of.id, by=ASKED[fate], reason=TEXTS[fate])
    store.add_approval(replace(approval, reference=REFERENCES[fate]))


def contents(*folders: Path, logs: bool = True) -> dict[str, bytes]:
    """Every file, of those with the same bytes one, without long runs of zeros."""
    there: dict[bytes, tuple[str, bytes]] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        if not logs and path.parent.name == "log":
            continue
        with suppress(FileNotFoundError):  # a running server removes some
            content = re.sub(rb"\0{1024,}", bytes(1024), path.read_bytes())
            there.setdefault(hashlib.sha256(content).digest(), (str(path), content))
    return dict(there.values())


def standing(needles: Mapping[bytes, T], files: Mapping[str, bytes]) -> set[T]:
    """What the needles stand for that are somewhere in these files: all looked for at once, by their first
    four bytes, since hundreds of them and hundreds of megabytes would take minutes one by one."""
    first, second = np.zeros(1 << 16, dtype=bool), np.zeros(1 << 16, dtype=bool)
    for needle in needles:
        first[int.from_bytes(needle[:2], "little")] = second[int.from_bytes(needle[2:4], "little")] = True
    lengths, there = {len(needle) for needle in needles}, set()
    for content in files.values():
        for start in (0, 1):
            pairs = np.frombuffer(content[start : start + (len(content) - start) // 2 * 2], "<u2")
            for at in np.flatnonzero(first[pairs[:-1]] & second[pairs[1:]]) * 2 + start:
                there |= {content[at : at + length] for length in lengths} & needles.keys()
    return {needles[one] for one in there}


def found(texts: list[str], files: Mapping[str, bytes]) -> set[str]:
    """Which of these texts stand anywhere: as UTF-8, as UTF-16, in JSON's escapes, in hex."""
    forms: dict[bytes, str] = {}
    for text in texts:
        plain, escaped = text.encode(), text.encode("ascii", "backslashreplace")
        forms |= dict.fromkeys((plain, text.encode("utf-16-le"), escaped, plain.hex().encode()), text)
    return standing(forms, files)


def tried(fate: str, keys: Mapping[str, bytes], files: Mapping[str, bytes]) -> set[str]:
    """Which words of a caller and an operator are found in hashes, when each is tried with every key."""
    caller = CALLERS[fate]
    words = {
        "number_hash": caller,
        "start_hash": first_of(caller),
        "end_hash": caller[-4:],
        "operator_hash": user_part(OPERATORS[fate]),
    }
    needles = {hash_of(key, name, word): name for name, word in words.items() for key in keys.values()}
    return standing(needles | {hashed.hex().encode(): name for hashed, name in needles.items()}, files)


@pytest.fixture
def store(server: Server, tmp_path: Path, written: Written) -> Iterator[SealedStore]:
    """With two calls of each fate, which were looked for, too."""
    server.execute("CREATE EXTENSION pg_stat_statements")
    with sealed_store(server.database(), tmp_path / "vault", host="a") as store:
        archive = archive_of(store, tmp_path / "recordings", tmp_path)
        for number, fate in enumerate(FATES):
            minutes = YOUNG if fate == "kept" else number * 60
            for begun in (minutes, minutes + 7):
                of = recording(begun, caller=CALLERS[fate], operator=OPERATORS[fate])
                call(store, of, fate, archive)
        for fate in FATES:
            for asked in (Selection(number=CALLERS[fate]), Selection(operator=user_part(OPERATORS[fate]))):
                assert len(store.receipts(asked)) == 2
            part = (f"+{CALLERS[fate][-4:]}", CALLERS[fate][-4:])
            assert len(store.recordings(Selection(caller=part))) == 2
        yield store


def forget(store: SealedStore, archive: Archive) -> None:
    for of in store.receipts(Selection(number=CALLERS["deleted"])):
        delete(archive, of.id, Access(at=LATER, action="delete", by="dpo", recording_id=of.id), lambda: LATER)
    reports = [purge(archive, LATER, TERMS) for _ in range(2)]  # uses go once the recording has gone
    assert [(report.failed, len(report.removed)) for report in reports] == [((), 2), ((), 0)]
    assert store.keys_left() == 0


def test_what_is_purged_is_nowhere(
    store: SealedStore, server: Server, tmp_path: Path, written: Written
) -> None:
    archive, vault = archive_of(store, tmp_path / "recordings", tmp_path), tmp_path / "vault"
    database = server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'db%'")[0][0]
    with server.standby() as standby:
        server.execute("SELECT pg_switch_wal()")
        backup = server.base_backup()
        everywhere = (server.data, standby.data, backup, tmp_path / "archived")
        before = shutil.copytree(vault, tmp_path / "vault of before")
        _all_is_found(written, keys_in(before), contents(*everywhere))

        # keys of what was undone go by themselves
        store.keys.give_up()
        server.execute("UPDATE key_removals SET since = since - interval '20 minutes'", database)
        forget(store, archive)
        server.execute("SELECT pg_switch_wal()")
        server.checkpoint()
        standby.wait_replayed(server)
        standby.execute("CHECKPOINT")

        files, keys = contents(*everywhere, vault), keys_in(vault)
        opened = written.opened_by(keys)
        for fate in ("purged", "deleted"):
            assert found(texts_of(fate), files) == set()
            assert [text for text in texts_of(fate) if text in repr(opened)] == []
            assert tried(fate, keys, contents(*everywhere, logs=False)) == set()
        salts = {str(columns["salt"]) for _, _, columns in written.boxes.values()}
        assert len(salts) > 20 and found(sorted(salts), files) == set()

        # who is kept stays readable, and only sealed
        assert found(texts_of("kept"), files) == set()
        assert [text for text in texts_of("kept") if text not in repr(opened)] == []
        kept = store.receipts(Selection(number=CALLERS["kept"]))
        assert [one.operator for one in kept] == [OPERATORS["kept"]] * 2
        whose = {row["id"] for row in opened if row["table"] in ("receipts", "recordings")}
        assert whose == {one.id for one in kept}
        assert verify(archive).problems == []
        statements = repr(server.execute("SELECT query FROM pg_stat_statements"))
        assert "number_hash" in statements
        assert not [text for fate in FATES for text in texts_of(fate) if text in statements]
    _the_backup_opens_with_the_vault_of_before(backup, database, vault, before)


def _all_is_found(written: Written, keys: Mapping[str, bytes], files: Mapping[str, bytes]) -> None:
    """The control: with its keys all of it can be opened and tried, so what searches finds."""
    tables = {table for table, _ in _present(written, files)}
    assert tables == {"receipts", "recordings", "accesses", "notes", "approvals"}
    told = repr(written.opened_by(keys))
    for fate in FATES:
        assert [text for text in texts_of(fate) if text not in told] == []
        assert len(tried(fate, keys, files)) == 4
    assert found(["+33323063006"], files)  # the number that they called stands in clear


def _present(written: Written, files: Mapping[str, bytes]) -> set[tuple[str, str | int]]:
    """Rows whose boxes stand somewhere; long ones are in parts, in pages and chunks."""
    return standing({box[40:120]: (table, id) for box, (table, id, _) in written.boxes.items()}, files)


def _the_backup_opens_with_the_vault_of_before(
    backup: Path, database: str, vault: Path, before: Path
) -> None:
    with Server() as old:
        shutil.rmtree(old.data, ignore_errors=True)
        shutil.move(backup, old.data)
        old.start()
        conninfo = old.conninfo(database)
        with sealed_store(conninfo, before) as store:
            assert len(store.receipts(Selection(number=CALLERS["purged"]))) == 2
        with sealed_store(conninfo, vault) as store:
            assert store.receipts(Selection(number=CALLERS["purged"])) == []
            assert [one.caller for one in store.receipts()].count(None) == 4
            assert len(store.receipts(Selection(number=CALLERS["kept"]))) == 2
        assert len(ask(conninfo, "SELECT id FROM receipts WHERE sealed IS NOT NULL")) == 6


class Vault(WatchedBlobs):
    """`shut`: nothing can be removed from it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, self._refuse)
        self.shut = False

    def _refuse(self, step: str, name: str) -> None:
        if self.shut and step == "remove":
            raise OSError(30, "Read-only file system", name)


@pytest.mark.parametrize("how", ["purge", "deletion"])
def test_keys_that_cannot_be_removed_are_said_and_go_with_the_next_purge(
    postgres: Server, tmp_path: Path, how: str
) -> None:
    vault = Vault(tmp_path / "vault")
    with fresh(postgres, tables) as database, sealed_store(database, vault, host="a") as store:
        archive = archive_of(store, tmp_path / "recordings", tmp_path)
        row = keep(archive, recording())
        kept = ask(database, "SELECT key FROM receipts UNION SELECT key FROM recordings")
        keys = {one["key"] for one in kept}
        vault.shut = True
        if how == "purge":
            ((what, why),) = purge(archive, LATER, TERMS).failed
            assert what == "vault" and "keys of what was forgotten are still there: " in why
            assert "Read-only file system" in why
        else:  # which is no success
            trace = Access(at=LATER, action="delete", by="dpo", recording_id=row.id)
            with pytest.raises(OSError, match="Read-only file system"):
                delete(archive, row.id, trace, lambda: LATER)
            assert store.receipt(row.id).caller is None
        (finding,) = _keys(store)
        assert finding.level == "error" and "are still in the vault" in repr(finding)
        assert keys & set(keys_in(tmp_path / "vault"))
        vault.shut = False
        assert purge(archive, LATER, TERMS).failed == ()
        assert not keys & set(keys_in(tmp_path / "vault"))
        assert store.keys_left() == 0 and [*_keys(store)] == []
