"""The threads of the service that send up and remove, over a real store that is killed."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from media.recording.tap import Tap
from retention.archive import Archive
from retention.objects.bucket import Away, Bucket, object_name, piece_name
from retention.objects.uploads import Uploads
from retention.recording_files import FileKind
from retention.records import Recording, Status
from retention.vault import public_line
from sipagent.agent.recorder import Recorder
from sipagent.agent.stored import archive_of_calls, bucket_of, journal_of
from sipagent.check.hosts import object_findings
from sipagent.config.load import Config
from sipagent.service.storing import storing
from tests.configured import SMALL, read, with_keys
from tests.kept import ANN, receipt, recording
from tests.object_store import names_in, now, place_of
from tests.s3 import Weed
from tests.settling import settle
from tests.tapping import feed, wait_for
from tests.test_recorder import CLOSING, NOW, begin


def configured(folder: Path, store: Weed) -> Config:
    place = place_of(store, folder)
    (folder / "ann.pub").write_text(public_line(ANN.public))
    keys = (
        f'url = "s3://{place.bucket}/{place.prefix.rstrip("/")}"\nendpoint = "{place.endpoint}"\n'
        f'region = "{place.region}"\ncredentials_file = "{place.credentials}"'
    )
    text = with_keys("objects", keys, with_keys("recording", 'recipients = ["ann.pub"]', SMALL))
    return read(text, folder / "config.toml")


class Service:
    """A recorder, and the threads beside it."""

    def __init__(self, config: Config, alerts: list[str]) -> None:
        self.config = config
        self.store = journal_of(config)
        self.archive: Archive = archive_of_calls(config, self.store)
        self.recorder = Recorder(self.archive, "flac", alerts.append, config.recording.recipients)
        self.recorder.start()
        found = bucket_of(config)
        assert found is not None
        self.bucket: Bucket = found

    def records(self) -> tuple[Recording, Tap]:
        row = recording(operator=None)
        return row, begin(self.recorder, row)

    def close(self) -> None:
        if self.recorder._quick._thread.is_alive():
            self.recorder.stop()
        self.store.close()


@pytest.fixture
def service(weed: Weed, tmp_path: Path, alerts: list[str]) -> Iterator[Service]:
    service = Service(configured(tmp_path, weed), alerts)
    yield service
    service.close()


def test_without_objects_there_are_no_threads(tmp_path: Path) -> None:
    with storing(read(SMALL, tmp_path / "config.toml"), pytest.fail) as threads:
        assert threads is None


def test_a_refusal_takes_its_key_first_and_then_all_of_it(
    service: Service, weed: Weed, alerts: list[str]
) -> None:
    with storing(service.config, alerts.append) as threads:
        assert threads is not None
        row, tap = service.records()
        wait_for(lambda: piece_name(row.id, 1) in names_in(weed, service.bucket))
        key = object_name(row.id, FileKind.KEY)
        assert service.bucket.look(key) is not None
        service.recorder.erase(tap, receipt(row, decision="refused"), NOW)
        wait_for(lambda: key not in names_in(weed, service.bucket))
        wait_for(lambda: names_in(weed, service.bucket) == [])
        settle(service.recorder)
        assert service.store.recording(row.id).status is Status.ERASED
    assert alerts == []


def test_a_call_goes_up_and_its_figures_tell_also_after_what_nobody_foresaw(
    service: Service, weed: Weed, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, faults = Uploads.turn, [RuntimeError("odd")]

    def fails_once(uploads: Uploads) -> object:
        if faults:
            raise faults.pop()
        return turn(uploads)

    monkeypatch.setattr(Uploads, "turn", fails_once)
    with storing(service.config, alerts.append) as threads:
        assert threads is not None
        row, tap = service.records()
        service.recorder.keep(tap, row, CLOSING)
        kinds = (FileKind.METADATA, FileKind.SEALED, FileKind.KEY)
        names = [object_name(row.id, kind) for kind in kinds]
        wait_for(lambda: names_in(weed, service.bucket) == names)
        wait_for(lambda: threads.figures.uploaded_bytes > 64000 and not threads.figures.uploads_waiting_bytes)
        figures = threads.figures
    assert (figures.object_store_up, figures.removals_pending) == (True, 0)
    assert alerts == ["uploads: RuntimeError('odd'), which nobody foresaw"]
    found = {one.what: (one.level, one.detail) for one in object_findings(service.config, now())}
    assert {level for level, _ in found.values()} == {"ok"}
    assert found["objects.spool"][1] == "0 finished recordings not up yet"


def test_a_store_that_is_killed_loses_nothing(tmp_path: Path, alerts: list[str]) -> None:
    with Weed(tmp_path / "weed", "127.0.0.9") as store:
        with (
            closing(Service(configured(tmp_path, store.start()), alerts)) as service,
            storing(service.config, alerts.append) as threads,
        ):
            assert threads is not None
            row, tap = service.records()
            refused = recording(1, operator=None)
            other = begin(service.recorder, refused)
            wait_for(lambda: len(names_in(store, service.bucket)) == 4)
            store.kill()
            feed(tap, 16000, 32000)
            service.recorder.erase(other, receipt(refused, decision="refused"), NOW)
            service.recorder.keep(tap, row, CLOSING)
            settle(service.recorder)
            assert service.store.recording(row.id).status is Status.CLOSED
            wait_for(lambda: not threads.figures.object_store_up and threads.figures.removal_failures > 0)
            (said,) = [one for one in object_findings(service.config, now()) if one.what == "objects"]
            assert said.level == "error" and "does not answer" in said.detail
            store.start()
            kinds = (FileKind.METADATA, FileKind.SEALED, FileKind.KEY)
            names = [object_name(row.id, kind) for kind in kinds]
            wait_for(lambda: names_in(store, service.bucket) == names)
            wait_for(lambda: threads.figures.object_store_up)
        assert any("what is not up waits on this disk" in one for one in alerts)
        assert any(f"{refused.id}: must be removed from the object store" in one for one in alerts)


def test_a_clock_that_is_wrong_is_told(weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.auth

    bucket = Bucket(place_of(weed, tmp_path))
    real = botocore.auth.get_current_datetime

    def ahead(*how: object, **named: object) -> object:
        from datetime import timedelta

        return real(*how, **named) + timedelta(hours=2)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", ahead)
    with pytest.raises(Away, match="clocks of this machine and of the object store differ"):
        bucket.content("a")
