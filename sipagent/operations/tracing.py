"""The line that an operation leaves in the trace where it is refused or fails.

What is done leaves its own, in the transaction that does it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from retention.archive import Archive
from retention.marks import ArchiveError
from retention.records import Access, Recording, RuleError
from retention.use import discreet


@contextmanager
def traced(
    archive: Archive, trace: Access, of: Recording | Callable[[Access], Access], what: str = ""
) -> Iterator[None]:
    """Leave the line for what is refused or fails, and raise it again.

    `trace.recording_id` says which call it is; `of`: the recording, or what else leaves out the people of the
    call. `what` stands before the reason.
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
    except (ArchiveError, OSError) as error:
        tell("failed", error)
        raise
