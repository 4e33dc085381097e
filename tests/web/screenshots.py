"""`make screenshots`: a picture of each page in three widths, both languages, light and dark, of a service
with made-up calls; and what axe-core finds on it, which ends it with 1.

With `--docs` the pictures under `docs/pictures` are made anew instead. They are judged by eye.
"""

import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import soundfile
from playwright.sync_api import Browser, Page, sync_playwright

from retention.accounts import credentials
from retention.holds import place
from retention.records import Access, Approval, Event, Hold, Note, Receipt, Recording, Special, Status, new_id
from retention.rows.rows import Rows
from retention.rows.selection import Selection
from retention.vault import PublicKey
from sipagent.operations.approvals import ask_approval, rules_of
from sipagent.web.background import CommandOutcome
from sipagent.web.site import Site
from tests import busy
from tests.kept import receipt, recording
from tests.office import PARIS, Office
from tests.peers.process import free_ports
from tests.sealing import PASSPHRASE, QUICK, make_pair, sealed_call
from tests.web.browser import CHROMIUM, OPTIONS, too_wide, violations
from tests.web.listening import unfold
from tests.web.logging_in import opened
from tests.web.served import serving
from tests.web.test_accessible import FINDINGS, PAGES, ROLES, ROOT, SCHEMES, VERIFIED, Served, found

CONFIG = """
[service]
name = "Allô Mairie"
controller = "Commune de Saint-Quentin"
controller_contact = "mairie@saint-quentin.example"
dpo_contact = "dpo@saint-quentin.example"
legal_basis = "mission d'intérêt public, article 6(1)(e) du RGPD"
[trunk]
uri = "sip:agent@127.0.0.1"
listen = "127.0.0.1:5060"
allowed_sources = ["127.0.0.1"]
numbers = ["+33323063006", "+33323063007"]
[operators]
extensions = ["sip:201@pbx.example.net", "sip:202@pbx.example.net", "sip:203@pbx.example.net"]
[prompts]
messages = { "travaux" = "prompts/fr/unavailable.wav" }
[recording]
recipients = ["keys/claire.pub"]
"""
WIDTHS = (390, 768, 1280)
HEIGHTS = {390: 844, 768: 1024, 1280: 800}
DOCS = Path("docs/pictures")
LARGEST = 60_000  # bytes of a picture that stays
RATE = 8000
OPERATOR = "sip:201@pbx.example.net"


def fill(site: Site, office: Office) -> dict[str, str]:
    """Two months of calls; some sealed recordings; what waits, and what is on hold; calls that go on."""
    now, store = datetime.now(UTC), site.store
    first = (now - timedelta(days=60)).astimezone(PARIS).date()
    past = busy.calls(first, 61, 14, now=now - timedelta(hours=2), zone=PARIS)
    busy.fill(store, (by_another(*call, number) for number, call in enumerate(past)))
    sound = speech()
    told: dict[str, Any] = {"operator": OPERATOR, "sample_rate": RATE, "duration_s": len(sound) / RATE}
    rows = [
        sealed_call(office, ("claire",), sound, timedelta(hours=hours), pauses=(), **told)
        for hours in (1, 3, 5)
    ]
    used(site, rows[0])
    asked_for(site, rows[1], rows[2])
    ongoing(store, now)
    store.keep_specials(different(now))
    site.look._running = lambda now: True  # type: ignore[method-assign]  # as if an agent were at work
    site.commands._last["check"] = CommandOutcome(now, "claire", 1, json=FINDINGS)
    well = VERIFIED | {"lost": [], "problems": []}
    site.commands._last["verify"] = CommandOutcome(now, "claire", 0, json=well)
    refused = next(one.id for one in store.each_receipt(Selection()) if one.decision == "refused")
    gone = next(one.id for one in store.recordings(Selection()) if one.status is Status.ERASED)
    return {"recorded": rows[0].id, "unrecorded": refused, "purged": gone}


def different(now: datetime) -> list[Special]:
    """A message until the evening, and a closure tomorrow."""
    evening = now.astimezone(PARIS).replace(hour=23, minute=30)
    noon = (now.astimezone(PARIS) + timedelta(days=1)).replace(hour=12, minute=0)
    return [
        Special(number=1, message="travaux", from_at=now - timedelta(hours=1), until_at=evening),
        Special(number=2, from_at=noon, until_at=noon + timedelta(hours=2)),
    ]


def by_another(receipt: Receipt, row: Recording | None, number: int) -> busy.Call:
    """The call, by somebody of that number: a person's own calls are few."""
    caller = None if receipt.caller is None else f"+336{(number * 7919) % 10**8:08}"
    return replace(receipt, caller=caller), row and replace(row, caller=row.caller and caller)


def used(site: Site, row: Recording) -> None:
    """Its story, an analysis, and who has listened."""
    store, came = site.store, row.started_at

    def after(seconds: float) -> datetime:
        return came + timedelta(seconds=seconds)

    said = (
        (16, "decision: allowed (silence)"),
        (16, f"ringing {OPERATOR}"),
        (24, f"bridged with {OPERATOR}"),
        (24, "recording started"),
    )
    events = tuple(Event(at=after(seconds), what=what) for seconds, what in said)
    told = replace(store.receipt(row.id), events=events, notice_played_ms=10_400, answered_at=came)
    store.update_receipt(replace(told, connected_at=after(24), decided_at=after(16), phase="window"))
    use = Access(at=after(1800), action="play", recording_id=row.id, purpose="quality", via="web")
    store.add_access(replace(use, by="claire", login="claire", reference="2026-118"))
    text = "Accueil clair. Le retrait d'une carte d'identité est bien expliqué."
    store.add_note(
        Note(recording_id=row.id, at=after(1900), by="claire", expires_at=row.expires_at, text=text)
    )


def asked_for(site: Site, held: Recording, other: Recording) -> None:
    """One on hold, whose end is asked for, and one whose hold is."""
    now = site.clock()
    review = (now + timedelta(days=90)).date().isoformat()
    given: dict[str, Any] = {"ground": "criminal", "reference": "2026-41", "review": review}
    hold = Hold(by="sonia", approved_by="claire", **given)
    place(site.archive, held.id, hold, Access(at=now, action="hold"))
    for row, action, asked in (
        (other, "hold", given),
        (held, "release", {"reason": "le dossier est clos"}),
    ):
        wanted = Approval(at=now, action=action, recording_id=row.id, by="sonia", **asked)
        trace = Access(at=now, action="ask", by="sonia", login="sonia", via="web")
        ask_approval(site.archive, wanted, trace, rules_of(site.config, now))


def ongoing(store: Rows, now: datetime) -> None:
    """Four calls: one is recorded, one was refused, one waits, one hears the notice."""
    for ago, decision, by, operator in (
        (200, "allowed", "silence", "201"),
        (95, "refused", "dtmf", "203"),
        (31, "allowed", "silence", None),
        (6, "undecided", None, None),
    ):
        at = now - timedelta(seconds=ago)
        row = recording(id=new_id(at), started_at=at, caller=None, operator=None)
        call = receipt(row, ended_at=None, outcome=None, decision=decision, decided_by=by, recording_id=None)
        if operator:
            uri = f"sip:{operator}@pbx.example.net"
            call = replace(call, connected_at=at + timedelta(seconds=24), operator=uri)
        if operator and decision == "allowed":
            call = replace(call, recording_id=row.id)
            store.add_recording(row)
        store.add_receipt(call)


def speech() -> Any:
    """Two people who speak by turns: shipped prompts. (n, 2) int16."""
    lanes = np.zeros((0, 2), np.int16)
    for turn, name in enumerate(("welcome", "please_hold", "confirm", "refused", "unavailable", "notice")):
        said, _ = soundfile.read(ROOT / f"prompts/fr/{name}.wav", dtype="int16")
        both = np.zeros((len(said) + RATE // 3, 2), np.int16)
        both[: len(said), 1 - turn % 2] = said
        lanes = np.concatenate((lanes, both))
    return lanes


@contextmanager
def service(folder: Path) -> Iterator[Served]:
    """The page of a made-up service, and the cookies of its people."""
    credentials.STRENGTH = QUICK
    credentials.NOBODYS = credentials.hashed("nobody's")
    (folder / "prompts").symlink_to(ROOT / "prompts")
    port = free_ports(1)
    office = Office(folder, None)  # type: ignore[arg-type]  # nothing is printed
    key: PublicKey = make_pair(office, "claire", PASSPHRASE)
    with opened(folder, f'[web]\nlisten = "127.0.0.1:{port}"\n', config=CONFIG) as page:
        ids = fill(page.site, office)
        cookies: dict[str, str] = {}
        for who, roles in ROLES.items():
            browser = page.browser()
            browser.log_in(page.enrolled(who, *roles, key=key if who == "claire" else None))
            cookies[who] = str(browser.cookie)
        with serving(page.app, port) as address:
            yield Served(address, ids, cookies, page.logins.cookies.session)


def listening(folder: Path, served: Served, page: Page) -> None:
    """A recording is heard: its key is open, and its sound drawn."""
    served.open(page, "/recordings/{recorded}")
    unfold(page)
    page.set_input_files("#key-file", folder / "keys" / "claire.key")
    page.fill("#passphrase", PASSPHRASE)
    page.select_option("#purpose", "quality")
    page.click("#play")
    page.wait_for_selector("#listening:not([hidden])")
    page.wait_for_timeout(1500)
    page.click("#play")
    page.evaluate("document.getElementById('key').open = false")


def states(folder: Path) -> dict[str, Callable[[Served, Page], None]]:
    """How to come to each picture, by its name."""
    paths = {path.strip("/").replace("/", "-") or "now": path for path in PAGES}
    paths |= {one: f"/recordings/{{{one}}}" for one in ("recorded", "unrecorded", "purged")}
    return {
        **{name: partial(Served.open, path=path) for name, path in paths.items()},
        "listening": partial(listening, folder),
        "found": found,
        "erasing": partial(found, click="#erase", then="#confirm"),
        "menu": menu,
        "no-such-page": no_such,
    }


def menu(served: Served, page: Page) -> None:
    """What folds away on a narrow screen, unfolded."""
    served.open(page, "/")
    if page.is_visible(".fold"):
        page.click(".fold")


def no_such(served: Served, page: Page) -> None:
    """A page that is not there."""
    served.open(page, "/recordings")
    page.goto(served.address + "/recordings/1")


@contextmanager
def tab(browser: Browser, language: str, width: int, scheme: Any) -> Iterator[Page]:
    """One of that kind."""
    size: Any = {"width": width, "height": HEIGHTS[width]}
    context = browser.new_context(
        locale=language, viewport=size, color_scheme=scheme, reduced_motion="reduce", timezone_id=PARIS.key
    )
    try:
        yield context.new_page()
    finally:
        context.close()


# what stays in the documents: name, state, width, language, light or dark
PICTURES = (
    ("now", "now", 1280, "en", "light"),
    ("maintenant", "now", 1280, "fr", "light"),
    ("recordings", "recordings", 1280, "en", "light"),
    ("listening", "listening", 1280, "en", "light"),
    ("ecouter", "listening", 1280, "fr", "dark"),
    ("statistics", "statistics", 1280, "en", "light"),
    ("statistiques", "statistics", 1280, "fr", "light"),
    ("telephone", "recordings", 390, "fr", "dark"),
)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("screenshots"), show_default=True)
@click.option("--docs", is_flag=True, help="Make the pictures of the documents anew.")
@click.argument("names", nargs=-1)
def main(out: Path, docs: bool, names: tuple[str, ...]) -> None:
    """Make the pictures of NAMES, or of all pages."""
    wrong: list[str] = []
    with TemporaryDirectory() as name, service(Path(name)) as served, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=OPTIONS)
        ways = states(Path(name))
        if docs:
            for picture, state, width, language, scheme in PICTURES:
                with tab(browser, language, width, scheme) as page:
                    ways[state](served, page)
                    keep(page, DOCS / f"{picture}.webp")
            return
        for state, language, width, scheme in product(names or ways, ("en", "fr"), WIDTHS, SCHEMES):
            with tab(browser, language, width, scheme) as page:
                ways[state](served, page)
                kind = f"{state}.{width}.{language}.{scheme}"
                page.screenshot(path=out / f"{kind}.png", full_page=True)
                wrong += [f"{kind}: {one}" for one in (*violations(page), *too_wide(page))]
        browser.close()
    click.echo("\n".join(wrong) or "nothing is wrong")
    sys.exit(bool(wrong))


def keep(page: Page, path: Path) -> None:
    """A small picture of what the window shows."""
    session = page.context.new_cdp_session(page)
    for quality in range(80, 10, -10):
        taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": quality})
        picture = b64decode(taken["data"])
        if len(picture) <= LARGEST:
            break
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(picture)
    click.echo(f"{path}: {len(picture)} bytes")


if __name__ == "__main__":
    main()
