"""Whatever an operation raises, each face tells it in its own form: none gets lost, none ends the server."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import pytest

from retention.marks import ArchiveError
from retention.records import RuleError
from retention.rows.rows import StoreError, TryAgain, UnknownId
from sipagent.operations import Unfinished
from sipagent.operations.approvals import ApprovalError
from sipagent.operations.persons import SeveralCalls
from sipagent.operations.uses import UseRefused
from sipagent.web.rights import Role
from tests.office import Office
from tests.raising import raising
from tests.web.conftest import Asking

SAID = "it is not so today"
HOLD = {"ground": "criminal", "reference": "2026-41", "review": "2030-01-01"}
BY = ("--by", "Durand")


def kinds(of: type[RuleError] = RuleError) -> Iterator[type[RuleError]]:
    """Every refusal that a rule of ours knows."""
    for kind in of.__subclasses__():
        if not kind.__module__.startswith("tests."):
            yield kind
            yield from kinds(kind)


def raised() -> Iterator[Exception]:
    yield from (kind(SAID) for kind in kinds())
    yield ApprovalError(SAID, others_may=True)
    yield UseRefused(SAID, gone=True)
    yield from (kind(SAID) for kind in (UnknownId, TryAgain, StoreError, ArchiveError, Unfinished))
    yield OSError(28, SAID, "/var/x.json")


def status_of(error: Exception) -> int:
    """Of an answer to a program."""
    match error:
        case RuleError():
            return 410 if error.gone else 403 if error.others_may else 409
        case UnknownId():
            return 404
        case TryAgain():
            return 503
        case _:
            return 500


def text_of(error: Exception) -> str:
    return SAID if isinstance(error, OSError) else str(error)


COMMANDS: Mapping[str, tuple[str, ...]] = {
    "hold.hold": (
        *("hold", "ID", "--ground", "criminal", "--reference", "1", *BY),
        *("--approved-by", "Petit", "--review", "2999-01-01"),
    ),
    "hold.end_hold": ("release", "ID", *BY),
    "hold.held": ("holds",),
    "hold.attempt_note": ("note", "ID", *BY, "--text-file", "SHEET", "--yes"),
    "purge.delete_calls": ("delete", "ID", "--reason", "x", *BY),
    "use.using": ("play", "ID", "--purpose", "quality", *BY),
    "list.show": ("show", "ID"),
}
PROGRAMS: Mapping[str, tuple[str, dict[str, Any] | None]] = {
    "calls.show": ("/recordings/ID", None),
    "calls.delete_call": ("/calls/ID/delete", {"reason": "x"}),
    "calls.give_vcon": ("/calls/ID/vcon", {"purpose": "quality"}),
    "uses.begin_use": ("/recordings/ID/uses", {"purpose": "quality"}),
    "uses.attempt_note": ("/recordings/ID/notes", {"text": "Calm."}),
    "uses.ask_approval": ("/recordings/ID/hold", HOLD),
    "uses.decide": ("/approvals/7/approve", {}),
    "uses.held": ("/holds", None),
    "compliance.calls_of_person": ("/persons", {"caller": "0612345678"}),
    "compliance.forget_person": ("/persons/delete", {"caller": "0612345678", "reason": "x"}),
}
FORMS: Mapping[str, tuple[str, dict[str, str]]] = {
    "recording.attempt_note": ("/recordings/ID/note", {"text": "Calm."}),
    "recording.ask_approval": ("/recordings/ID/hold", HOLD),
    "recording.delete_call": ("/recordings/ID/delete", {"reason": "x", "agreed": "1"}),
    "holds.decide": ("/holds/7/approve", {}),
    "persons.persons.delete_calls": ("/requests/erased", {"caller": "0612345678", "id": "ID", "reason": "x"}),
    "persons.give_vcon": (
        "/requests/vcon",
        {"caller": "0612345678", "of": "ID", "request": "1", "channel": "both"},
    ),
    "persons.persons.answer_person": (
        "/requests/package",
        {"caller": "0612345678", "id": "ID", "request": "1", "channel": "both", "names": "no"},
    ),
}


@pytest.mark.parametrize("operation", COMMANDS)
def test_a_command_says_it_in_one_line(
    web_office: Office, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    sheet = web_office.folder / "sheet.txt"
    sheet.write_text("Calm.")
    places = {"ID": web_office.call().id, "SHEET": str(sheet)}
    words = [places.get(word, word) for word in COMMANDS[operation]]
    for error in raised():
        monkeypatch.setattr(f"sipagent.cli.{operation}", raising(error))
        said = web_office.fails(1, *words)
        assert said.endswith(f"{text_of(error)}\n"), error


@pytest.mark.parametrize("operation", PROGRAMS)
def test_a_program_is_told_the_status_and_why(
    asking: Asking, web_office: Office, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    path, body = PROGRAMS[operation]
    path = f"/api/v1{path.replace('ID', web_office.call().id)}"
    monkeypatch.setattr(asking.site.store, "approval", lambda number: type("Kept", (), {"id": number}))
    asking.login(Role.SUPERVISOR, Role.OFFICER, via="api")
    for error in raised():
        monkeypatch.setattr(f"sipagent.web.api.{operation}", raising(error))
        answer = asking.client.get(path) if body is None else asking.client.post(path, json=body)
        assert answer.headers["content-type"] == "application/problem+json", error
        assert (answer.status_code, answer.json()["detail"]) == (status_of(error), text_of(error)), error
        assert answer.json().items() >= dict(getattr(error, "more", {})).items()
        assert ("ids" in answer.json()) == isinstance(error, SeveralCalls)


@pytest.mark.parametrize("operation", FORMS)
def test_a_page_says_it_where_the_form_is(
    asking: Asking, web_office: Office, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    path, fields = FORMS[operation]
    id = web_office.call().id
    sent = {name: text.replace("ID", id) for name, text in fields.items()} | {"csrf": "csrf-claire"}
    asking.login(Role.SUPERVISOR, Role.OFFICER)
    for error in raised():
        monkeypatch.setattr(f"sipagent.web.pages.{operation}", raising(error))
        answer = asking.client.post(path.replace("ID", id), data=sent)
        assert answer.status_code == status_of(error), error
        assert escape(text_of(error)) in answer.text, error
        if isinstance(error, RuleError | Unfinished):
            assert "<form" in answer.text and 'role="alert"' in answer.text, error
