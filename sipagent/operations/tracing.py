"""The line that an operation leaves in the trace where it is refused or fails.

What is done leaves its own, in the transaction that does it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from media import MediaError
from retention.archive import Archive
from retention.records import Access, Recording, RuleError
from retention.rows.rows import StoreError
from retention.texts import WithReason, strerror
from retention.use import discreet
from sipagent.languages.labels import N_

UNCHANGED = N_("{0}; nothing has changed: try again")


class Unfinished(WithReason):
    """A file could not be written, or not erased; `str()` says what that leaves, and who tries again.

    `about`: the file, or the id of the call.
    """

    about = ""


@contextmanager
def traced(
    archive: Archive,
    trace: Access,
    of: Recording | Callable[[Access], Access],
    what: str = "",
    *,
    left: str = "",
) -> Iterator[None]:
    """Leave the line for what is refused or fails, and raise it again.

    `trace.recording_id` says which call it is; `of`: the recording, or what else leaves out the people of the
    call. `what` stands before the reason. `left`: what is said of a file that cannot be written or erased;
    then that is raised as Unfinished.
    """

    def tell(outcome: str, why: Exception) -> None:
        told = replace(trace, outcome=outcome, detail=f"{what}{why}")
        archive.store.add_access(discreet(told, of) if isinstance(of, Recording) else of(told))

    try:
        yield
    except RuleError as refusal:
        refusal.about = trace.recording_id or ""
        tell("refused", refusal)
        raise
    except StoreError:
        raise  # nothing can be written
    except (WithReason, MediaError, OSError) as error:
        tell("failed", error)
        if not (left and isinstance(error, OSError)):
            raise
        unfinished = Unfinished(left, strerror(error))
        unfinished.about = error.filename or trace.recording_id or ""
        raise unfinished from error
