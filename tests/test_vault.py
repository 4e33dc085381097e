"""The vault: a key for each sealed recording, for those who may listen and nobody else."""

import json
import os
import stat
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from nacl.public import PrivateKey, SealedBox

from retention.recording_files import LocalFiles
from retention.vault import Identity, KeysError, Vault
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
