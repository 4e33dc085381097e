"""Has the database that hosts share know which objects there are, so that all remove, hold and read them.

A host's own rows come first, before anything is put. Until they are told, only this host removes what they
name; once they are told, the call is over and all of it is up, they leave the journal.
"""

from retention.object_rows import ObjectRow
from retention.recording import Status
from retention.rows.pages import PAGE
from retention.rows.rows import Rows

_GONE = (Status.ERASED, Status.FAILED, Status.PURGED)


def tell(journal: Rows, shared: Rows) -> int:
    """Tell what is new; how many rows that were.

    What is told of a recording that is gone by now must go. A crash in between tells it again. Raises
    StoreError.
    """
    count = 0
    while rows := journal.objects.untold():
        with shared.write():
            shared.objects.take_over(rows, _gone(shared, rows))
        journal.objects.were_told(rows)
        count += len(rows)
        if len(rows) < PAGE:
            break
    return count


def _gone(shared: Rows, rows: list[ObjectRow]) -> frozenset[str]:
    states = shared.states([*{row.id for row in rows}])
    return frozenset(id for id, row in states.items() if row["status"] in _GONE)
