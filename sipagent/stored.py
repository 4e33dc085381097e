"""Where this configuration has recordings kept: the one place that chooses among what keeps them."""

from retention.archive import Archive
from retention.local_files import LocalFiles
from retention.marks import Marks
from retention.recording_files import RecordingFiles
from retention.store import Store
from sipagent.config import Config


def files_of(config: Config) -> RecordingFiles:
    """What is kept of recordings outside the database."""
    return LocalFiles(config.recording.directory, config.places.vault, config.base)


def archive_of(config: Config, store: Store) -> Archive:
    """The recordings whose rows are in `store`."""
    return Archive(store, files_of(config), Marks(config.recording.directory))
