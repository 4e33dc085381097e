"""What is kept of a call that the engine had refused before anybody was asked."""

from datetime import UTC, datetime

import structlog

from retention.recording import Event, Ids, Receipt, due_date
from sipagent.agent.admission import Admission
from sipagent.agent.engine import RefusedByEngine
from sipagent.agent.figures import Tally
from sipagent.config.identity import call_id, called_number, caller_number

SERVICE_UNAVAILABLE = 503
MISCOUNTED = 486  # from the engine: its library has no leg, where by our count one is free
ASKED_ELSEWHERE = (
    MISCOUNTED,
    500,
    SERVICE_UNAVAILABLE,
)  # an edge asks another worker, and leaves the receipt

log = structlog.get_logger(__name__)


def turned_away(
    report: RefusedByEngine, ids: Ids, rules: Admission, tally: Tally, *, behind_edge: bool
) -> Receipt | None:
    """Its receipt, complete at once, where it is ours to leave; strangers are only counted."""
    if report.status == MISCOUNTED:
        log.error("miscounted_legs", detail="the engine's library had no leg where we had counted one")
    if report.status in ASKED_ELSEWHERE and behind_edge:
        log.info("call_passed_on", status=report.status, why="engine")
        return None
    now = datetime.now(UTC)
    if not rules.source_allowed(report.source):
        tally.count_stranger()
        return None
    receipt = rejected(
        ids.new(now),
        now,
        report.status,
        rules,
        call_id=call_id(report.message),
        caller=caller_number(report.message, rules.country),
        called=called_number(report.message, rules.country),
    )
    log.info("call_rejected", call=receipt.id, status=report.status)
    return receipt


def rejected(
    id: str,
    at: datetime,
    status: int,
    rules: Admission,
    *,
    call_id: str,
    caller: str | None,
    called: str | None,
    by: str = "agent",
) -> Receipt:
    """The receipt of a call that was answered with `status` at once, by the agent or by the edge; UTC."""
    return Receipt(
        id=id,
        call_id=call_id,
        started_at=at,
        ended_at=at,
        caller=caller,
        called=called,
        outcome="rejected",
        decided_by="sip",
        events=(Event(at=at, what=f"rejected with {status}", by=by),),
        expires_at=due_date(at, rules.receipts_period),
    )
