"""A hold gets a field of its own where it is declared, `retention.records`, and every face has it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIELD = """\
    officer: str | None = _term("Officer", "Of the court.", "O")
    review: str | None"""
FACES = """
from datetime import UTC, datetime
from retention.archive import whole_hold
from retention.holds import why_no_hold
from retention.rows.chain import open_hold
from retention.sqlite import Store
from sipagent.cli.hold import hold_command
from sipagent.web.api.openapi import document
from sipagent.web.pages.holds import asked_in_words
from sipagent.web.pages.recording import EMPTY

records = sys.modules["retention.records"]
(option,) = [one for one in hold_command.params if one.name == "officer"]
assert (option.required, option.metavar, option.help) == (True, "O", "Of the court.")
schemas = document()["components"]["schemas"]
assert "officer" in schemas["NewHold"]["required"] and "officer" in schemas["Approval"]["properties"]
assert EMPTY["officer"] == ""
asked = dict(ground="criminal", reference="7", review="2030-01-01", officer="Petit")
at = datetime(2026, 11, 24, tzinfo=UTC)
wanted = records.Approval(at=at, action="hold", recording_id="x", by="a", **asked)
assert asked_in_words(wanted).endswith(" Officer: Petit.")
kept = Store(":memory:")
assert kept.approval(kept.add_approval(wanted).id).officer == "Petit"
hold = records.Hold(by="a", approved_by="b", **asked)
assert whole_hold(hold.to_json()) == hold.to_json() and "officer" not in open_hold(hold.to_json())
refused = records.replace(hold, officer=" ")
assert why_no_hold(refused, ("criminal",), at.date()) == "--officer is empty"
"""


def test_a_field_is_added_in_one_place() -> None:
    """All of the program reads another `retention.records`, with that field in it."""
    source = (ROOT / "retention/records.py").read_text(encoding="utf-8")
    assert source.count("    review: str | None") == 1
    made = source.replace("    review: str | None", FIELD)
    start = (
        "import sys, types\nmade = sys.modules['retention.records'] = types.ModuleType('retention.records')\n"
    )
    script = f"{start}exec({made!r}, vars(made))\n{FACES}"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
