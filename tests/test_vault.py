"""The vault: a key for each sealed recording, for those who may listen and nobody else."""

import json
import os
import stat
from base64 import b64decode
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
    key = vault.create(ID, [ANN.public, BEN.public])
    assert len(key) == 32
    assert vault.key(ID, ANN) == vault.key(ID, BEN) == key
    assert [one.comment for one in vault.recipients(ID)] == ["Ann", "Ben"]
    with pytest.raises(
        KeysError, match=rf"{ID}\.key: is not for Eve \(\w+\); accepted: Ann \(\w+\), Ben \(\w+\)$"
    ):
        vault.key(ID, EVE)


def test_the_key_is_nowhere_in_clear_and_private(vault: Vault) -> None:
    key = vault.create(ID, [ANN.public])
    path = Paths(vault).key(ID)
    assert key not in path.read_bytes()
    assert key.hex() not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == [f"{ID}.key"]


def test_each_recording_has_a_key_of_its_own(vault: Vault) -> None:
    assert vault.create(ID, [ANN.public]) != vault.create(OTHER, [ANN.public])
    assert vault.ids() == [ID, OTHER]


def test_the_file_is_as_documented(vault: Vault) -> None:
    key = vault.create(ID, [ANN.public])
    fields = json.loads(Paths(vault).key(ID).read_bytes())
    assert (fields["version"], fields["id"]) == ("sipagent-vault-1", ID)
    [entry] = fields["recipients"]
    assert b64decode(entry["public"]) == ANN.public.raw
    box = SealedBox(PrivateKey(bytes([1]) * 32)).decrypt(b64decode(entry["key"]))
    assert box == f"sipagent-key-1 {ID}\n".encode() + key


def test_it_is_on_the_disk_before_it_is_used(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    vault.create(ID, [ANN.public])
    assert synced[-2:] == [f"{ID}.key.tmp", "vault"]


def test_a_key_is_never_overwritten(vault: Vault) -> None:
    key = vault.create(ID, [ANN.public])
    with pytest.raises(KeysError, match="exists, and a key is never overwritten"):
        vault.create(ID, [BEN.public])
    assert vault.key(ID, ANN) == key


def test_without_recipients_there_is_no_key(vault: Vault) -> None:
    with pytest.raises(KeysError, match="no recipient"):
        vault.create(ID, [])
    assert vault.ids() == []


def test_a_recipient_named_twice_is_one(vault: Vault) -> None:
    vault.create(ID, [ANN.public, ANN.public])
    assert vault.recipients(ID) == (ANN.public,)


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


def test_a_missing_key_is_told(vault: Vault) -> None:
    for ask in (vault.recipients, lambda id: vault.key(id, ANN), lambda id: vault.seal(id, b"x")):
        with pytest.raises(KeysError, match=rf"{ID}\.key: does not exist; nobody can listen to {ID}$"):
            ask(ID)
    assert vault.ids() == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '"x"',
        "[" * 50000,
        "\xff",
        '{"version": "sipagent-vault-1", "id": "%s", "recipients": %s}',
    ],
)
@pytest.mark.parametrize("entries", ["[1]", '[{"public": "AAAA", "key": "AAAA"}]', '[{"public": 1}]', "null"])
def test_a_damaged_key_is_told(vault: Vault, content: str, entries: str) -> None:
    vault.create(ID, [ANN.public])
    Paths(vault).key(ID).write_text(
        content % (ID, entries) if "%" in content else content, encoding="latin-1"
    )
    with pytest.raises(KeysError, match=r"is not the sealed key of [^\n]+, or damaged$"):
        vault.key(ID, ANN)


def test_an_altered_box_is_told(vault: Vault) -> None:
    vault.create(ID, [ANN.public])
    fields = json.loads(Paths(vault).key(ID).read_bytes())
    box = fields["recipients"][0]["key"]
    fields["recipients"][0]["key"] = box[:60] + ("A" if box[60] != "A" else "B") + box[61:]
    Paths(vault).key(ID).write_text(json.dumps(fields))
    with pytest.raises(KeysError, match=rf"{ID}\.key: not sealed to Ann \(\w+\), or altered since"):
        vault.key(ID, ANN)


@pytest.mark.parametrize("id", ["", "../x", "a/b", "a.b", ".", "x" * 65])
def test_what_is_no_id_names_no_file(vault: Vault, id: str) -> None:
    with pytest.raises(KeysError, match="is not the id of a recording"):
        vault.create(id, [ANN.public])
    assert not Paths(vault).vault.exists()


def test_strange_files_are_passed_over_and_what_a_crash_left_is_not(vault: Vault) -> None:
    vault.create(ID, [ANN.public])
    for name in ("README", "x.key.old", f"{OTHER}.key.tmp", ".key"):
        (Paths(vault).vault / name).touch()
    assert vault.ids() == [ID, OTHER]


# --- other recipients ---


def test_a_recording_is_sealed_to_others_from_now_on(vault: Vault) -> None:
    key = vault.create(ID, [ANN.public])
    resealed = vault.resealed(ID, ANN, [BEN.public, EVE.public])
    assert resealed is not None and vault.key(ID, ANN) == key
    Paths(vault).key(ID).write_bytes(resealed)
    assert vault.key(ID, BEN) == vault.key(ID, EVE) == key
    with pytest.raises(KeysError, match="is not for Ann"):
        vault.key(ID, ANN)
    assert vault.resealed(ID, BEN, [EVE.public, BEN.public]) is None


def test_only_who_can_open_it_can_seal_it_to_others(vault: Vault) -> None:
    vault.create(ID, [ANN.public])
    before = Paths(vault).key(ID).read_bytes()
    with pytest.raises(KeysError, match="is not for Eve"):
        vault.resealed(ID, EVE, [EVE.public])
    with pytest.raises(KeysError, match="no recipient"):
        vault.resealed(ID, ANN, [])
    assert Paths(vault).key(ID).read_bytes() == before


# --- texts ---


def test_a_text_is_for_the_recipients_of_its_recording(vault: Vault) -> None:
    vault.create(ID, [ANN.public, BEN.public])
    sealed = json.loads(json.dumps(vault.seal(ID, b"+33612345678")))
    assert b"33612345678" not in json.dumps(sealed).encode()
    assert vault.unseal(ID, sealed, ANN) == vault.unseal(ID, sealed, BEN) == b"+33612345678"
    with pytest.raises(KeysError, match=f"the sealed text of {ID}: is not for Eve"):
        vault.unseal(ID, sealed, EVE)
    with pytest.raises(KeysError, match="was sealed for something else"):
        vault.unseal(OTHER, sealed, ANN)


def test_a_text_can_hold_anything_and_the_key_is_none(vault: Vault) -> None:
    vault.create(ID, [ANN.public])
    assert vault.unseal(ID, vault.seal(ID, b"\n\n\0"), ANN) == b"\n\n\0"
    box = json.loads(Paths(vault).key(ID).read_bytes())["recipients"][0]
    with pytest.raises(KeysError, match="was sealed for something else"):
        vault.unseal(ID, {box["public"]: box["key"]}, ANN)
    with pytest.raises(KeysError, match="is not for Ann"):
        vault.unseal(ID, {box["public"]: None}, ANN)
