"""Each act on what is kept, once: for the command line, the page and the interface for programs.

An operation is a function: it is given a request, a frozen value, asks the rule (`retention`), leaves a line
in the trace whether it is done, refused or has failed, and returns a frozen value whose fields are its JSON.

    uses       play a recording, or copy it, for a purpose; file the analysis of what was heard
    vcon       a call as a signed vCon, with or without its sound
    approvals  hold, renew, release; ask another login for that, or for an export; approve, refuse, withdraw
    persons    all that is known of one call; forget calls before their time; find a person's, say that they
               were told of them, forget them
    accounts   make, change and end accounts and tokens
    today      close for a while, or have callers hear a message before the notice
    purge      remove what has expired, as a person asks for it
    verify     compare all that is kept with its chain; have the chain stamped; give a caller a receipt
    statistics the figures of a period; the draws of the sample, again
    register   the entry for the register: made, written, compared
    parsing    what people type, as values

What is done leaves its line in the trace, in the transaction that does it; `traced` leaves that of what is
refused or fails.

What a rule refuses is a RuleError, what cannot be read a FieldError, a file that cannot be written or erased
is Unfinished. Each face turns them into its own form in one place: `cli.program` and `cli.options`,
`web.guard` (`refusal`, `unfit`, `failure`; `Entry.again` is the page of the form, once more).
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
