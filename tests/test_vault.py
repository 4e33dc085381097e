"""Key pairs, and the vault: a key for each sealed recording, for those who may listen and nobody else."""

import json
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PrivateKey, SealedBox
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from retention.recording_files import LocalFiles
from retention.vault import (
    Identity,
    KeysError,
    PublicKey,
    Strength,
    Vault,
    new_pair,
    read_identity,
    read_public,
)
from tests.kept import Paths

ID, OTHER = "20261124T222000123-4f2a9c", "20261124T222100123-77aa01"
ANN, BEN, EVE = (
    Identity(bytes([number]) * 32, name) for number, name in ((1, "Ann"), (2, "Ben"), (3, "Eve"))
)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(LocalFiles(tmp_path / "recordings", tmp_path / "vault", tmp_path))


def test_every_recipient_and_nobody_else_has_the_key(vault: Vault) -> None:
    key = vault.create(ID, [ANN.public, BEN.public, ANN.public])
    assert len(key) == 32 and vault.key(ID, ANN) == vault.key(ID, BEN) == key
    assert [one.comment for one in vault.recipients(ID)] == ["Ann", "Ben"]
    able = rf"{ID}\.key: is not for Eve \(\w+\); accepted: Ann \(\w+\), Ben \(\w+\)$"
    with pytest.raises(KeysError, match=able):
        vault.key(ID, EVE)
    assert vault.create(OTHER, [ANN.public]) != key and vault.ids() == [ID, OTHER]


def test_the_file_is_as_documented_private_and_on_the_disk_before_it_is_used(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = list[str](), os.fsync

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    key, path = vault.create(ID, [ANN.public]), Paths(vault).key(ID)
    assert synced[-2:] == [f"{ID}.key.tmp", "vault"]
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert [entry.name for entry in path.parent.iterdir()] == [f"{ID}.key"]
    assert key not in path.read_bytes() and key.hex() not in path.read_text()
    fields = json.loads(path.read_bytes())
    assert (fields["version"], fields["id"]) == ("sipagent-vault-1", ID)
    [entry] = fields["recipients"]
    assert b64decode(entry["public"]) == ANN.public.raw
    box = SealedBox(PrivateKey(bytes([1]) * 32)).decrypt(b64decode(entry["key"]))
    assert box == f"sipagent-key-1 {ID}\n".encode() + key


def test_what_makes_no_key(vault: Vault) -> None:
    """One is never overwritten, and is for somebody."""
    for id in ("", "../x", "a/b", "a.b", ".", "x" * 65):
        with pytest.raises(KeysError, match="is not the id of a recording"):
            vault.create(id, [ANN.public])
    with pytest.raises(KeysError, match="no recipient"):
        vault.create(ID, [])
    assert not Paths(vault).vault.exists() and vault.ids() == []
    key = vault.create(ID, [ANN.public])
    with pytest.raises(KeysError, match="exists, and a key is never overwritten"):
        vault.create(ID, [BEN.public])
    assert vault.key(ID, ANN) == key


def test_two_keys_that_were_exchanged_are_noticed(vault: Vault) -> None:
    """Also by someone who puts the right id where it can be read."""
    vault.create(ID, [ANN.public])
    vault.create(OTHER, [ANN.public])
    swapped = Paths(vault).key(OTHER).read_text()
    Paths(vault).key(ID).write_text(swapped)
    with pytest.raises(KeysError, match="is not the sealed key of"):
        vault.key(ID, ANN)
    Paths(vault).key(ID).write_text(swapped.replace(OTHER, ID))
    with pytest.raises(KeysError, match=rf"was sealed for something else, 'sipagent-key-1 {OTHER}'"):
        vault.key(ID, ANN)


def test_a_missing_or_an_altered_key_is_told(vault: Vault) -> None:
    asked: tuple[Callable[[str], object], ...] = (
        vault.recipients,
        lambda id: vault.key(id, ANN),
        lambda id: vault.seal(id, b"x"),
    )
    for ask in asked:
        with pytest.raises(KeysError, match=rf"{ID}\.key: does not exist; nobody can listen to {ID}$"):
            ask(ID)
    vault.create(ID, [ANN.public])
    fields = json.loads(Paths(vault).key(ID).read_bytes())
    box = fields["recipients"][0]["key"]
    fields["recipients"][0]["key"] = box[:60] + ("A" if box[60] != "A" else "B") + box[61:]
    Paths(vault).key(ID).write_text(json.dumps(fields))
    with pytest.raises(KeysError, match=rf"{ID}\.key: not sealed to Ann \(\w+\), or altered since"):
        vault.key(ID, ANN)


DAMAGED = [
    *("", "[]", "{}", '"x"', "[" * 50000, "\xff"),
    *(
        f'{{"version": "sipagent-vault-1", "id": "{ID}", "recipients": {entries}}}'
        for entries in ("[1]", '[{"public": "AAAA", "key": "AAAA"}]', '[{"public": 1}]', "null")
    ),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_key_is_told(vault: Vault, content: str) -> None:
    vault.create(ID, [ANN.public])
    Paths(vault).key(ID).write_text(content, encoding="latin-1")
    with pytest.raises(KeysError, match=r"is not the sealed key of [^\n]+, or damaged$"):
        vault.key(ID, ANN)


def test_strange_files_are_passed_over_and_what_a_crash_left_is_not(vault: Vault) -> None:
    vault.create(ID, [ANN.public])
    for name in ("README", "x.key.old", f"{OTHER}.key.tmp", ".key"):
        (Paths(vault).vault / name).touch()
    assert vault.ids() == [ID, OTHER]


def test_only_who_can_open_a_recording_can_seal_it_to_others(vault: Vault) -> None:
    key = vault.create(ID, [ANN.public])
    for identity, recipients, said in ((EVE, [EVE.public], "is not for Eve"), (ANN, [], "no recipient")):
        with pytest.raises(KeysError, match=said):
            vault.resealed(ID, identity, recipients)
    resealed = vault.resealed(ID, ANN, [BEN.public, EVE.public])
    assert resealed is not None and vault.key(ID, ANN) == key
    Paths(vault).key(ID).write_bytes(resealed)
    assert vault.key(ID, BEN) == vault.key(ID, EVE) == key
    with pytest.raises(KeysError, match="is not for Ann"):
        vault.key(ID, ANN)
    assert vault.resealed(ID, BEN, [EVE.public, BEN.public]) is None


@pytest.mark.parametrize("text", [b"+33612345678", b"\n\n\0"])
def test_a_text_is_for_the_recipients_of_its_recording_and_the_key_is_none(vault: Vault, text: bytes) -> None:
    vault.create(ID, [ANN.public, BEN.public])
    sealed = json.loads(json.dumps(vault.seal(ID, text)))
    assert b"33612345678" not in json.dumps(sealed).encode()
    assert vault.unseal(ID, sealed, ANN) == vault.unseal(ID, sealed, BEN) == text
    box = json.loads(Paths(vault).key(ID).read_bytes())["recipients"][0]
    for id, told, identity, said in (
        (ID, sealed, EVE, f"the sealed text of {ID}: is not for Eve"),
        (OTHER, sealed, ANN, "was sealed for something else"),
        (ID, {box["public"]: box["key"]}, ANN, "was sealed for something else"),
        (ID, {box["public"]: None}, ANN, "is not for Ann"),
    ):
        with pytest.raises(KeysError, match=said):
            vault.unseal(id, told, identity)


# --- pairs ---


WEAK = Strength(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
WORDS = "déjà vu"
EXAMPLE = "sipagent-recipient-1 B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw= quality"


def never() -> str:
    raise AssertionError("the passphrase was asked for")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Protected by WORDS."""
    return new_pair(tmp_path / "recordings", WORDS, "Quality, Ms Durand", strength=WEAK)


def test_a_pair_opens_what_was_sealed_to_it_is_named_and_guarded(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    assert pair == (tmp_path / "recordings.pub", tmp_path / "recordings.key")
    assert [stat.S_IMODE(path.stat().st_mode) for path in pair] == [0o644, 0o600]
    key, identity = read_public(pair[0]), read_identity(pair[1], lambda: WORDS)
    assert (key.comment, identity.public.comment) == ("Quality, Ms Durand",) * 2
    assert key == identity.public
    sealed = key.seal(b"a key")
    assert b"a key" not in sealed and identity.open(sealed) == b"a key"
    # a passphrase is the same however its accents are typed
    assert read_identity(pair[1], lambda: "de\u0301ja\u0300 vu").public == key
    with pytest.raises(KeysError, match=r"recordings\.key: wrong passphrase, or the file is damaged$"):
        read_identity(pair[1], lambda: "something else")
    with pytest.raises(KeysError, match=r"recordings\.pub: is a public key, which opens nothing"):
        read_identity(pair[0], never)


def test_a_dotted_stem_keeps_its_dots_and_without_a_passphrase_none_is_asked_for(tmp_path: Path) -> None:
    public, private = new_pair(tmp_path / "a.b" / "office.2026", None, "")
    assert [public.name, private.name] == ["office.2026.pub", "office.2026.key"]
    assert stat.S_IMODE((tmp_path / "a.b").stat().st_mode) == 0o700
    assert read_identity(private, never).open(read_public(public).seal(b"x")) == b"x"
    assert public.read_text().count(" ") == 1


def test_the_files_are_as_documented(pair: tuple[Path, Path]) -> None:
    word, encoded, comment = pair[0].read_text().rstrip("\n").split(" ", 2)
    assert (word, comment) == ("sipagent-recipient-1", "Quality, Ms Durand")
    fields = json.loads(pair[1].read_text())
    assert (fields["version"], fields["public"]) == ("sipagent-identity-1", encoded)
    kdf = fields["kdf"]
    assert kdf["name"] == "argon2id"
    derived = argon2id.kdf(32, WORDS.encode(), b64decode(kdf["salt"]), kdf["opslimit"], kdf["memlimit"])
    private = SecretBox(derived).decrypt(b64decode(fields["secret"]))
    assert Identity(private).public.raw == b64decode(encoded)


def test_the_usual_strength_is_argon2s_moderate_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def note(size: int, _password: bytes, _salt: bytes, opslimit: int, memlimit: int) -> bytes:
        asked.append((opslimit, memlimit))
        return bytes(size)

    monkeypatch.setattr(argon2id, "kdf", note)
    _, private = new_pair(tmp_path / "a", WORDS, "")
    read_identity(private, lambda: WORDS)
    assert asked == [(3, 256 << 20)] * 2


def test_a_public_key_is_the_same_by_its_bytes_and_told_by_a_fingerprint(tmp_path: Path) -> None:
    one, other = PublicKey(bytes(range(32)), "A"), PublicKey(bytes(range(32)), "B")
    assert one == other
    assert one.id == "630dcd2966c43366"  # SHA-256 of 00 01 … 1f
    assert (str(one), str(PublicKey(bytes(range(32))))) == ("A (630dcd2966c43366)", "630dcd2966c43366")
    (tmp_path / "a.pub").write_text(f"  {EXAMPLE}\r\n")
    assert read_public(tmp_path / "a.pub").comment == "quality"


def test_whoever_seals_cannot_open() -> None:
    identity, stranger = Identity(bytes(range(32))), Identity(bytes(32))
    sealed = identity.public.seal(b"x")
    with pytest.raises(KeysError, match=f"not sealed to {stranger.public}, or altered since"):
        stranger.open(sealed)
    for place in (0, 40, len(sealed) - 1):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(KeysError, match="altered since"):
            identity.open(bytes(altered))
    with pytest.raises(KeysError):
        identity.open(b"short")


@pytest.mark.parametrize("taken", [".pub", ".key"])
@pytest.mark.parametrize("lay", ["file", "link", "file that came in between"])
def test_nothing_is_ever_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str, lay: str
) -> None:
    path = tmp_path / f"a{taken}"
    if lay == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("precious")
    with monkeypatch.context() as patch:
        if lay.endswith("between"):
            patch.setattr(os.path, "lexists", lambda _: False)
        with pytest.raises(KeysError, match=rf"a\{taken}: exists, and a key is never overwritten"):
            new_pair(tmp_path / "a", None, "")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert lay == "link" or path.read_text() == "precious"
    for passphrase, comment, problem in (
        ("", "", "an empty passphrase protects nothing"),
        (None, "two\nlines", "is not one line of text"),
    ):
        with pytest.raises(KeysError, match=problem):
            new_pair(tmp_path / "b", passphrase, comment)


def test_a_full_disk_leaves_no_half_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def fill_up(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(OSError, match="No space"):
        new_pair(tmp_path / "a", None, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not a public key; accepted: one line, sipagent-recipient-1 BASE64 COMMENT"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me", "is not a public key"),
        (b"sipagent-recipient-1 " + b64encode(bytes(range(33))) + b" long", "is not a public key"),
        (f"{EXAMPLE}\n{EXAMPLE}".encode(), "is not a public key"),
        (b'{"version": "sipagent-identity-1"}', "is an identity, which does not belong here"),
        (b"\xff\xfe", "is not text, and so not a key"),
        (b"x" * 70000, "is longer than any key"),
        (b"sipagent-recipient-1 " + b64encode(bytes(32)), "is not a key that anything can be sealed to"),
    ],
)
def test_what_is_no_public_key_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.pub"
    path.write_bytes(content)
    with pytest.raises(KeysError) as wrong:
        read_public(path)
    assert str(wrong.value).startswith(f"{path}: ")
    assert problem in str(wrong.value)
    assert "\n" not in str(wrong.value)


def changed(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda identity: identity.update(fields)


def in_kdf(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda identity: identity["kdf"].update(fields)


@pytest.mark.parametrize(
    "change",
    [
        changed(version="sipagent-identity-2"),
        changed(public=None),
        lambda identity: identity.pop("kdf"),
        in_kdf(name="scrypt"),
        in_kdf(opslimit=1 << 30),
        in_kdf(memlimit=1 << 50),
        in_kdf(salt="AAAA"),
    ],
)
def test_a_damaged_identity_is_told_before_its_passphrase_is_asked_for(
    pair: tuple[Path, Path], change: Callable[[dict[str, Any]], object]
) -> None:
    fields = json.loads(pair[1].read_text())
    change(fields)
    pair[1].write_text(json.dumps(fields))
    with pytest.raises(
        KeysError, match=r"recordings\.key: is not an identity, or damaged; accepted: [^\n]+$"
    ):
        read_identity(pair[1], never)


def test_what_is_no_identity_or_not_of_its_public_key_is_told(tmp_path: Path) -> None:
    _, path = new_pair(tmp_path / "one", None, "")
    fields = json.loads(path.read_text())
    contents = [(one, "is not an identity, or dam") for one in ("", "[]", "null", "[" * 50000)]
    for secret, problem in ((bytes(31), "is not 32 bytes"), (bytes(32), "is not that of its public key")):
        contents.append((json.dumps(fields | {"secret": b64encode(secret).decode()}), problem))
    for content, problem in contents:
        path.write_text(content)
        with pytest.raises(KeysError, match=rf"one\.key: .*{problem}"):
            read_identity(path, never)


def test_what_cannot_be_read_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, problem in (
        ("none", "No such file"),
        ("", "is not a regular|Is a directory"),
        ("pipe", "is not a regular file"),
    ):
        for read in (read_public, lambda path: read_identity(path, never)):
            with pytest.raises(KeysError, match=problem):
                read(tmp_path / name)
