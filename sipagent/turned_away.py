"""What is kept of a call that the engine had refused before anybody was asked."""

from datetime import datetime

from retention.recording import Event, Receipt, due_date
from sipagent.admission import Admission
from sipagent.engine import RefusedByEngine
from sipagent.identity import call_id, called_number, caller_number


def turned_away(report: RefusedByEngine, id: str, admission: Admission, now: datetime) -> Receipt:
    """Its receipt, complete at once; `now` is UTC."""
    return Receipt(
        id=id,
        call_id=call_id(report.message),
        started_at=now,
        ended_at=now,
        caller=caller_number(report.message, admission.country),
        called=called_number(report.message, admission.country),
        outcome="rejected",
        decided_by="sip",
        events=(Event(at=now, what=f"rejected with {report.status}", by="agent"),),
        expires_at=due_date(now, admission.receipts_period),
    )
