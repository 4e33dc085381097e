"""Four eyes as two logins: nobody approves their own, nothing is done twice, nothing pending is done."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.holds import place, release
from retention.purge import Terms, preview, purge
from retention.records import Access, Approval, ApprovalState, Asked, Hold, RecordError, Recording
from retention.rows.rows import StoreError
from retention.verify import verify
from sipagent.operations import Unfinished
from sipagent.operations.approvals import ApprovalError, Rules, ask_approval, decide, pending_approvals
from sipagent.operations.uses import BegunUse, User, UseRefused, UseWanted, begin_use
from tests import tiers
from tests.both import BOTH, by_hand, opened
from tests.kept import CALLER, START, archive_of, bytes_under, keep, recording, remove, sqlite
from tests.raising import no_room
from tests.tampering import HOLD as HELD
from tests.tampering import past_guards

DATABASES = BOTH

RULES = Rules(
    grounds=("criminal", "disciplinary"), purposes=("quality",), period="6 months", today=date(2026, 11, 25)
)
TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")
OFFICER = "petit"
OTHER_HOLD = Hold(ground="criminal", reference="9", by="a", approved_by="b", review="2028-01-01")
HELD_BY = Access(at=START, action="", by="a")


def by(login: str | None, minutes: int = 0) -> Access:
    at = START + timedelta(minutes=minutes)
    return Access(at=at, action="", by=login and login.title(), login=login, via="web")


def wanted(row: Recording, action: str = "hold", **changes: object) -> Approval:
    asked = Approval(
        at=START,
        action=action,
        recording_id=row.id,
        by=None,
        ground="criminal",
        reference="2026-41",
        review="2027-05-31",
        purpose="criminal",
        channel="both",
        reason="complaint closed",
    )
    return replace(asked, **changes)  # type: ignore[arg-type]


def ask(archive: Archive, row: Recording, action: str = "hold", login: str = "durand") -> Approval:
    return ask_approval(archive, wanted(row, action), by(login), RULES)


def approve(archive: Archive, number: int, login: str | None = OFFICER, rules: Rules = RULES) -> Approval:
    return decide(archive, "approve", number, by(login, 1), rules, answer="agreed")


def refuse(archive: Archive, number: int, login: str = OFFICER) -> Approval:
    return decide(archive, "refuse", number, by(login), RULES, answer="no")


def withdraw(archive: Archive, number: int, login: str = "durand") -> Approval:
    return decide(archive, "withdraw", number, by(login), RULES)


def export(
    archive: Archive,
    row: Recording,
    number: int,
    login: str = "durand",
    *,
    channel: str = "both",
    later: int = 0,
) -> BegunUse | Approval:
    """For a court, by an account of that name that was made so many seconds after START."""
    user = User(any_purpose=True, may_ask=True, askers=(), key=None, since=START + timedelta(seconds=later))
    use = UseWanted(
        purpose="criminal", reference="41", action="export", channel=channel, file="x", approval=number
    )
    return begin_use(archive, row, use, by(login), rules=RULES, user=user, sound_problem=lambda row: None)


def lines(archive: Archive, row: Recording) -> list[tuple[str, str]]:
    assert verify(archive).problems == []
    return [(use.action, use.outcome) for use in archive.store.accesses(row.id)]


@pytest.fixture
def row(archive: Archive) -> Recording:
    return keep(archive, recording())


@pytest.fixture
def held(archive: Archive) -> Recording:
    row = keep(archive, recording())
    return place(archive, row.id, replace(OTHER_HOLD, review=HELD["review"]), HELD_BY)


# --- one after the other ---


def test_a_hold_is_placed_by_who_agrees(archive: Archive, row: Recording) -> None:
    asked = ask(archive, row)
    assert asked.id > 0 and asked.by == "durand" and archive.store.recording(row.id).hold is None
    assert pending_approvals(archive.store) == archive.store.approvals(row.id) == [asked]
    assert Approval.from_json(asked.to_json()) == asked and asked.to_json()["id"] == asked.id
    with pytest.raises(RecordError, match="is not a number"):
        Approval.from_json(asked.to_json() | {"id": "1"})
    done = approve(archive, asked.id)
    assert (done.state, done.decided_by, done.answer) == ("approved", OFFICER, "agreed")
    assert done == archive.store.approval(asked.id) and pending_approvals(archive.store) == []
    assert archive.store.recording(row.id).hold == {
        "ground": "criminal",
        "reference": "2026-41",
        "by": "durand",
        "approved_by": OFFICER,
        "review": "2027-05-31",
    }
    assert lines(archive, row) == [("ask", "done"), ("approve", "done"), ("hold", "done")]
    first, second, third = archive.store.accesses(row.id)
    assert (first.login, first.detail) == ("durand", f"hold, number {asked.id}")
    assert (second.login, second.detail) == (OFFICER, f"hold, number {asked.id}")
    assert (third.by, third.login) == ("durand", OFFICER)
    assert not purge(archive, row.expires_at, TERMS).removed


def test_an_export_for_a_court_is_good_for_one_use_by_who_asked(archive: Archive, held: Recording) -> None:
    asked = ask(archive, held, "export")
    with pytest.raises(UseRefused, match="not an approved export"):
        export(archive, held, asked.id)
    approve(archive, asked.id)
    for login, later in (("roux", 0), (OFFICER, 0), ("durand", 1)):  # who had the name before
        with pytest.raises(UseRefused, match="asked for by somebody else"):
            export(archive, held, asked.id, login, later=later)
    with pytest.raises(UseRefused, match="is for another export"):
        export(archive, held, asked.id, channel="caller")
    with pytest.raises(UseRefused, match="approval: "):
        export(archive, held, asked.id + 1)
    begun = export(archive, held, asked.id)
    assert isinstance(begun, BegunUse) and archive.store.access(begun.id).outcome == "done"
    assert archive.store.approval(asked.id).state == "used"
    with pytest.raises(UseRefused, match=f"number {asked.id} is used already"):
        export(archive, held, asked.id)
    told = [outcome for action, outcome in lines(archive, held) if action == "export"]
    assert told == [*["refused"] * 6, "done", "refused"]


def test_who_asked_cannot_approve(archive: Archive, row: Recording) -> None:
    asked = ask(archive, row)
    for login, said in (
        ("durand", "asked for it; accepted: somebody else"),
        ("Durand ", "asked for it; accepted: somebody else"),
        (None, "a login is needed"),
    ):
        with pytest.raises(ApprovalError, match=said):
            approve(archive, asked.id, login)
    with pytest.raises(ApprovalError, match="accepted: to withdraw it"):
        refuse(archive, asked.id, "durand")
    with pytest.raises(ApprovalError, match="only who asked"):
        withdraw(archive, asked.id, OFFICER)
    assert archive.store.approval(asked.id) == asked and archive.store.recording(row.id).hold is None
    assert lines(archive, row) == [
        ("ask", "done"),
        *[("approve", "refused")] * 3,
        *[("refuse", "refused"), ("withdraw", "refused")],
    ]
    assert "hold, number" in str(archive.store.accesses(row.id)[1].detail)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ground": "curiosity"}, "ground 'curiosity' is not listed"),
        ({"reference": ""}, "--reference is empty"),
        ({"review": "soon"}, "'soon' is not a day"),
        ({"review": "2026-11-25"}, "is not in the future"),
        ({"action": "renew"}, "there is nothing to renew"),
        ({"action": "release"}, "it is not on hold"),
        ({"action": "export"}, "'criminal' is not listed"),
        ({"action": "export", "purpose": "quality"}, "needs nobody's approval"),
        ({"action": "export", "channel": None}, "the side is needed"),
        ({"action": "sing"}, "cannot be asked for; accepted: hold, renew, release, export"),
    ],
)
def test_what_cannot_be_asked_for(
    archive: Archive, row: Recording, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ApprovalError, match=said):
        ask_approval(archive, wanted(row, **changes), by("durand"), RULES)  # type: ignore[arg-type]
    assert lines(archive, row) == [("ask", "refused")] and pending_approvals(archive.store) == []


def test_what_is_asked_for_twice(archive: Archive, held: Recording) -> None:
    first = ask(archive, held, "release")
    with pytest.raises(ApprovalError, match=f"asked for already, as number {first.id}"):
        ask(archive, held, "release", "roux")
    for login in ("durand", "roux"):  # each for a use of their own
        ask(archive, held, "export", login)
    with pytest.raises(ApprovalError, match="asked for already"):
        ask(archive, held, "export")
    withdraw(archive, first.id)
    ask(archive, held, "release", "roux")


# --- what came first ---


def test_after_a_purge_the_approval_says_so(archive: Archive, row: Recording) -> None:
    asked = ask(archive, row)
    assert remove(archive, row.id, row.expires_at)  # nobody has agreed yet: nothing holds it
    with pytest.raises(ApprovalError, match="it is already purged"):
        approve(archive, asked.id)
    assert archive.store.approval(asked.id).state == "pending"
    assert lines(archive, row)[-1] == ("approve", "refused")
    refuse(archive, asked.id)


def test_what_changed_meanwhile_stays_undone(
    archive: Archive, row: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(archive, row)
    held = place(archive, row.id, OTHER_HOLD, HELD_BY)
    with pytest.raises(ApprovalError, match="it is on hold already"):
        approve(archive, asked.id)
    end = ask(archive, held, "release")
    release(archive, row.id, HELD_BY)
    with pytest.raises(ApprovalError, match="it is not on hold"):
        approve(archive, end.id)
    with pytest.raises(ApprovalError, match="is not in the future"):
        approve(archive, asked.id, rules=replace(RULES, today=date(2027, 6, 1)))
    monkeypatch.setattr(archive, "rewrite", no_room("x.json"))
    with pytest.raises(Unfinished, match="No space left on device; nothing has changed") as left:
        approve(archive, asked.id)
    assert left.value.about == "x.json" and archive.store.approval(asked.id).state == "pending"
    assert lines(archive, row)[-1] == ("approve", "failed")


# --- every short history ---


@dataclass(frozen=True)
class Step:
    what: str
    login: str
    number: int = 0


class Undo(Exception):
    pass


class Histories:
    """Every history of a few steps, each taken and undone again; what was seen before is not seen twice."""

    def __init__(self, archive: Archive, row: Recording, action: str) -> None:
        self.archive, self.row, self.action = archive, row, action
        self.seen: dict[object, int] = {}  # with how many steps were taken from there
        self.taken = 0
        self.first = self.done()

    def done(self) -> Counter[str]:
        """How often what has been done, as the trace tells."""
        uses = self.archive.store.accesses(self.row.id)
        return Counter(use.action for use in uses if use.outcome == "done")

    def steps(self) -> Iterator[Step]:
        numbers = [one.id for one in self.archive.store.approvals(self.row.id)]
        for login in ("durand", "petit", "roux"):
            if len(numbers) < 2:
                yield Step("ask", login)
            for number in numbers:
                for what in ("approve", "refuse", "withdraw", "use"):
                    yield Step(what, login, number)

    def state(self) -> object:
        store = self.archive.store
        told = [(one.by, one.state, one.decided_by) for one in store.approvals(self.row.id)]
        hold = store.recording(self.row.id).hold
        return tuple(told), hold is None, (hold or {}).get("by")

    def take(self, step: Step) -> bool:
        archive, row = self.archive, self.archive.store.recording(self.row.id)
        try:
            if step.what == "ask":
                ask(archive, row, self.action, step.login)
            elif step.what == "use":
                export(archive, row, step.number, step.login)
            else:
                decide(archive, step.what, step.number, by(step.login), RULES)
        except (ApprovalError, UseRefused):
            return False
        return True

    def walk(self, depth: int) -> None:
        for step in [*self.steps()] if depth else []:
            before = self.state()
            try:
                with self.archive.store.write():
                    done = self.take(step)
                    self.taken += 1
                    assert done or self.state() == before, step
                    self.holds_true(step, done=done)
                    if self.seen.get(self.state(), -1) < depth - 1:
                        self.seen[self.state()] = depth - 1
                        self.walk(depth - 1)
                    raise Undo
            except Undo:
                assert self.state() == before

    def holds_true(self, step: Step, *, done: bool) -> None:
        store = self.archive.store
        approvals = store.approvals(self.row.id)
        since = self.done() - self.first
        agreed = [one for one in approvals if one.state in (ApprovalState.APPROVED, ApprovalState.USED)]
        for one in approvals:
            assert (one.decided_by is None) is (one.state == ApprovalState.PENDING)
            assert one not in agreed or one.decided_by != one.by
            assert one.state != ApprovalState.WITHDRAWN or one.decided_by == one.by
        if self.action == Asked.EXPORT:
            assert since["export"] == sum(one.state == ApprovalState.USED for one in approvals)
        else:
            assert since["release" if self.action == Asked.RELEASE else "hold"] == len(agreed)
            assert not done or step.what != "use"
        if self.action == Asked.HOLD:
            hold = store.recording(self.row.id).hold
            assert [one.by for one in agreed] == ([] if hold is None else [hold["by"]])


@pytest.mark.in_sqlite
@pytest.mark.parametrize("action", list(Asked))
def test_in_no_short_history_anyone_approves_their_own_or_twice(tmp_path: Path, action: str) -> None:
    archive = archive_of(opened(), tmp_path / "recordings", tmp_path)
    row = keep(archive, recording())
    if action != Asked.HOLD:
        place(archive, row.id, OTHER_HOLD, HELD_BY)
    histories = Histories(archive, archive.store.recording(row.id), action)
    histories.walk(tiers.depth(3, 4))
    assert histories.taken > tiers.depth(100, 300) and len(histories.seen) > tiers.depth(10, 20)


# --- what the database refuses by itself, and what it forgets ---


def test_the_database_itself_lets_nobody_approve_their_own_and_decides_once(
    archive: Archive, row: Recording
) -> None:
    asked = ask(archive, row)
    for state in ("approved", "used"):
        with pytest.raises(StoreError, match="nobody approves what they asked for"):
            archive.store.update_approval(replace(asked, state=state, decided_by="durand"))
    refused = refuse(archive, asked.id)
    for state in ("pending", "approved", "used"):
        with pytest.raises(StoreError, match="this was decided already"):
            archive.store.update_approval(replace(refused, state=state))
    with pytest.raises(StoreError, match="nothing is decided before it was asked for"):
        archive.store.add_approval(refused)
    with pytest.raises(StoreError, match="never deleted"):
        by_hand(archive.store, "DELETE FROM approvals")
    assert verify(archive).problems == []


@pytest.mark.in_sqlite
def test_an_approval_that_was_altered_shows(archive: Archive, row: Recording) -> None:
    asked = ask(archive, row)
    connection = sqlite(archive.store).conn
    past_guards(
        connection, [f"UPDATE approvals SET state = 'approved', decided_by = 'petit' WHERE id = {asked.id}"]
    )
    (state, person) = (found.problem for found in verify(archive).problems)
    assert state == 'state is "approved", the chain says "pending"' and "leads to a person" in person


def test_names_are_forgotten_as_in_the_trace(archive: Archive, row: Recording, tmp_path: Path) -> None:
    """Not while the recording is kept."""
    named = wanted(row, reason=f"the call of {CALLER}")
    asked = ask_approval(archive, named, by("durand"), RULES)
    assert asked.reason == "the call of +336…"
    decide(archive, "refuse", asked.id, by(OFFICER), RULES, answer=f"{CALLER} has agreed")
    later = row.expires_at + timedelta(days=400)
    archive.store.forget_names(later)
    assert archive.store.approval(asked.id).by == "durand"
    remove(archive, row.id, row.expires_at)
    assert preview(archive, later, TERMS).uses == 3  # two lines, and what was asked for
    assert purge(archive, later, TERMS).uses == 3
    left = archive.store.approval(asked.id)
    assert (left.by, left.decided_by, left.reason, left.answer, left.reference) == (None,) * 5
    assert (left.action, left.state, left.ground) == ("hold", "refused", "criminal")
    assert b"Durand" not in bytes_under(tmp_path) and b"durand" not in bytes_under(tmp_path)
    assert verify(archive).problems == []
