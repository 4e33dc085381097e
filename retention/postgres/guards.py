"""What the database itself refuses: what a crash, a bug or a person in a hurry must never do.

The same rules as the triggers of `rows.schema`. Who owns the tables can remove them: `verify` looks whether
they are there, and as they were made.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """A trigger: `when` it runs, before or after what, and the `body` of its function, PL/pgSQL."""

    name: str
    table: str
    when: str
    body: str

    @property
    def texts(self) -> tuple[str, str]:
        """The statements that make it, and its function of the same name."""
        head = f"CREATE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS"
        return (
            f"{head} $guard${self.body}$guard$",
            f"CREATE TRIGGER {self.name} {self.when} EXECUTE FUNCTION {self.name}()",
        )

    @property
    def texts_anew(self) -> tuple[str, ...]:
        """The statements that make it, also where it is there."""
        return (*self.texts_away, *self.texts)

    @property
    def texts_away(self) -> tuple[str, str]:
        """The statements that remove it, if it is there."""
        return (
            f"DROP TRIGGER IF EXISTS {self.name} ON {self.table}",
            f"DROP FUNCTION IF EXISTS {self.name}()",
        )


def _refusing(name: str, table: str, what: str, message: str, condition: str = "") -> Guard:
    when = f"BEFORE {what} ON {table} FOR EACH {'STATEMENT' if what == 'TRUNCATE' else 'ROW'}"
    then = "RETURN NULL" if what in ("DELETE", "TRUNCATE") else "RETURN NEW"
    raised = f"RAISE EXCEPTION '{message}' USING ERRCODE = 'integrity_constraint_violation'"
    checked = f"IF {condition} THEN {raised}; END IF; {then}" if condition else raised
    return Guard(name, table, when, f" BEGIN {checked}; END ")


_KEPT = ("receipts", "recordings", "accesses", "notes", "sums", "approvals", "chain")
_REFUSED = "EXISTS (SELECT 1 FROM receipts WHERE id = OLD.id AND decision = 'refused')"
GUARDS = (
    # a legal hold keeps the recording, but not against the caller's refusal: it came first
    _refusing(
        "held_recordings_stay",
        "recordings",
        "UPDATE",
        "the recording is on hold",
        "OLD.hold IS NOT NULL AND (NEW.status <> OLD.status OR NEW.purged_at IS NOT NULL) "
        f"AND NOT (NEW.status = 'erased' AND {_REFUSED})",
    ),
    _refusing("chain_grows", "chain", "UPDATE", "the chain only grows"),
    *(_refusing(f"{table}_stay", table, "DELETE", f"rows of {table} are never deleted") for table in _KEPT),
    *(
        _refusing(f"{table}_stay_all", table, "TRUNCATE", f"rows of {table} are never deleted")
        for table in _KEPT
    ),
    *(
        _refusing(
            f"{table}_keep_names",
            table,
            "UPDATE",
            f"rows of {table} keep their ids",
            "NEW.id <> OLD.id",
        )
        for table in _KEPT
        if table != "chain"
    ),
    _refusing(
        "approvals_are_of_another",
        "approvals",
        "UPDATE",
        "nobody approves what they asked for",
        "NEW.state IN ('approved', 'used') AND NEW.decided_by_proof = NEW.by_proof",
    ),
    _refusing(
        "approvals_are_decided_once",
        "approvals",
        "UPDATE",
        "this was decided already",
        "OLD.state <> NEW.state AND OLD.state <> 'pending' "
        "AND NOT (OLD.state = 'approved' AND OLD.action = 'export' AND NEW.state = 'used')",
    ),
    _refusing(
        "approvals_are_asked_for",
        "approvals",
        "INSERT",
        "nothing is decided before it was asked for",
        "NEW.state <> 'pending'",
    ),
    # a call is in progress until its receipt has ended and its recording is in its final state: closed, or
    # erased if the caller refused. This holds whichever program writes that, and in either order.
    Guard(
        "receipts_end_calls",
        "receipts",
        "AFTER UPDATE ON receipts FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL)",
        """ BEGIN DELETE FROM in_progress WHERE id = NEW.id AND NOT EXISTS
        (SELECT 1 FROM recordings WHERE id = NEW.id
        AND (status = 'open' OR (status = 'closed' AND NEW.decision = 'refused'))); RETURN NULL; END """,
    ),
    Guard(
        "recordings_end_calls",
        "recordings",
        "AFTER UPDATE ON recordings FOR EACH ROW WHEN (NEW.status <> 'open')",
        """ BEGIN DELETE FROM in_progress WHERE id = NEW.id AND EXISTS
        (SELECT 1 FROM receipts WHERE id = NEW.id AND ended_at IS NOT NULL
        AND NOT (decision = 'refused' AND NEW.status = 'closed')); RETURN NULL; END """,
    ),
)
# every write of a row adds to the chain
MOVED_AWAY = Guard(
    "rows_have_moved",
    "chain",
    "BEFORE INSERT ON chain FOR EACH ROW",
    """ BEGIN RAISE EXCEPTION 'its rows have moved to %; accepted: a configuration that names that',
        (SELECT note::json->>'to' FROM moved) USING ERRCODE = 'integrity_constraint_violation'; END """,
)
MOVING = "sipagent.moving"  # a setting of whoever moves rows into it
MOVING_IN = Guard(
    "rows_are_coming",
    "chain",
    "BEFORE INSERT ON chain FOR EACH ROW",
    f""" BEGIN IF current_setting('{MOVING}', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'rows are coming, and not all there; accepted: `sipagent migrate` again, to its end'
        USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NEW; END """,
)
TRIGGER_TEXTS = tuple(text for guard in GUARDS for text in guard.texts)
