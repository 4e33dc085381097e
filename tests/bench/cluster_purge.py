"""How fast the purge removes recordings whose sound, key and metadata are objects."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from retention.recording import Status
from retention.rules.purge import purge
from retention.storage.recording_files import FileKind
from sipagent.agent.recorder.stored import archive_of, store_of
from sipagent.config.load import load
from tests.bench.report import Row
from tests.bench.store import NOW, SOUND, TERMS, call
from tests.cluster.engines import Engines
from tests.cluster.site import Site

LATER = NOW + timedelta(days=400)
AT_ONCE = 100


def rows(count: int, say: Callable[[str], None]) -> list[Row]:
    """So many that have all expired, on one host."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-purge-")))
        engines = Engines(folder, stack, standby=False)
        site = Site(folder, stack, hosts={"a": 1}, operators=1, engines=engines)
        config = load(site.hosts["a"].agent.config)
        store = stack.enter_context(store_of(config))
        archive = archive_of(config, store)
        for first in range(0, count, AT_ONCE):
            calls = [call(number, NOW) for number in range(first, min(first + AT_ONCE, count))]
            with store.write():
                for receipt, recording in calls:
                    store.add_receipt(receipt)
                    store.add_recording(recording)
            for _, recording in calls:
                archive.files.write(recording.id, FileKind.KEY, b"{}")
                archive.files.write(recording.id, FileKind.METADATA, json.dumps(recording.to_json()).encode())
                archive.files.write(recording.id, FileKind.SEALED, SOUND)
            say(f"{first + len(calls)} recordings")
        before = len(engines.store.names(engines.bucket))
        began = time.perf_counter()
        purge(archive, LATER, TERMS)
        seconds = time.perf_counter() - began
        left = sum(row.status is not Status.PURGED for row in store.recordings())
        rest = [name for name, _ in engines.store.names(engines.bucket) if not name.startswith("kept/rows/")]
    return [
        Row(
            f"purge of {count:,} with {before:,} objects, ms each",
            seconds * 1000 / count,
            5,
            "ms",
            count=count,
        ),
        Row("that is, a second", count / seconds, None, ""),
        Row("recordings and objects left", float(left + len(rest)), 0, ""),
    ]
