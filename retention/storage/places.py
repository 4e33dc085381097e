"""Where everything beside the database lies: one value, made from the configuration, names it all.

retention.db                 the database; SQLite's own files have names of its making
shared.head                  the head of the chain that hosts share; the journal has its own
retention.head               the chain's head (`head`), and .head.damaged, one that could not be read
retention.turn               whose turn it is to write (`turn`)
journal.written              a pipe: something was written that is to be shipped (`retention.journal`)
retention.lock               the agent's; retention.worker-3.lock a worker's (`progress`)
retention.reserve            one process's; .worker-3.reserve, .edge.reserve (`reserve`)
retention.seed               of the draws
retention.moved              where its rows are now (`moved`)
retention.restoring          while a backup is put back; .arriving, its database (`retention.backup`)
round_robin.json             whose turn it is among the operators
accounts.db                  who may log in (`retention.accounts`); never part of a backup
accounts.key                 where hosts share accounts: under which key these are kept; the same on each
moving                       a folder, while `migrate` moves files
vault, stamps, edge          folders: sealed keys, time stamps, what Kamailio reads and writes
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Owner = int | Literal["edge"] | None  # a worker, the writer of the edge's calls, or the only process


@dataclass(frozen=True, slots=True)
class Places:
    """What lies beside this database."""

    database: Path

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.database.parent

    @property
    def shared(self) -> "Places":
        """Those beside a database that hosts share, whose journal this one is."""
        return Places(self.database.with_name("shared.db"))

    @property
    def head(self) -> Path:
        """The file of the chain's head."""
        return self.database.with_suffix(".head")

    @property
    def turn(self) -> Path:
        """The file that processes queue at to write."""
        return self.database.with_suffix(".turn")

    @property
    def written(self) -> Path:
        """The pipe that says that something was written, where this is a journal."""
        return self.database.with_suffix(".written")

    @property
    def lock(self) -> Path:
        """The agent's lock, for any number of processes."""
        return self.database.with_suffix(".lock")

    def lock_of(self, worker: int) -> Path:
        """A worker's lock."""
        return self.database.with_suffix(f".worker-{worker}.lock")

    def reserve(self, owner: Owner = None) -> Path:
        """The reserve of a process."""
        of = f"worker-{owner}." if isinstance(owner, int) else f"{owner}." if owner else ""
        return self.database.with_suffix(f".{of}reserve")

    def reserves(self) -> dict[Owner, Path]:
        """The existing reserves, by their process."""
        stem, found = self.database.with_suffix("").name, {}
        for path in sorted(self.database.parent.glob(f"{stem}.*reserve")):
            name = path.name.removeprefix(f"{stem}.").removesuffix("reserve").rstrip(".")
            worker = name.removeprefix("worker-")
            owner: Owner = None
            if name == "edge":
                owner = "edge"
            elif worker != name and worker.isdecimal():
                owner = int(worker)
            if path == self.reserve(owner):
                found[owner] = path
        return found

    @property
    def seed(self) -> Path:
        """The file of the secret that calls are drawn by."""
        return self.database.with_suffix(".seed")

    @property
    def moved(self) -> Path:
        """The file that says where its rows are now."""
        return self.database.with_suffix(".moved")

    @property
    def moving(self) -> "Places":
        """A folder for copies on their way from one place to another."""
        return Places(self.folder / "moving" / self.database.name)

    def notes_of_moves(self) -> list[Path]:
        """The files in this folder that say where rows have moved, or were to move."""
        return sorted(self.folder.glob("*.moved")) if self.folder.is_dir() else []

    @property
    def restoring(self) -> Path:
        """The file that says that a backup is being put back here, and which."""
        return self.database.with_suffix(".restoring")

    @property
    def arriving(self) -> Path:
        """The database of that backup, before it has its name."""
        return self.database.with_suffix(".arriving")

    @property
    def rota(self) -> Path:
        """The file that says whose turn it is among the operators."""
        return self.database.with_name("round_robin.json")

    @property
    def accounts(self) -> Path:
        """The database of those who may log in."""
        return self.database.with_name("accounts.db")

    @property
    def accounts_key(self) -> Path:
        """The file of the key that accounts are under, where hosts share them."""
        return self.database.with_name("accounts.key")

    @property
    def vault(self) -> Path:
        """The folder of the sealed keys."""
        return self.database.with_name("vault")

    @property
    def stamps(self) -> Path:
        """The folder of the time stamps."""
        return self.database.with_name("stamps")

    @property
    def edge(self) -> Path:
        """The folder of what Kamailio reads and writes."""
        return self.database.with_name("edge")
