"""config.toml as frozen models, and what a reader of it asks of it as a whole.

Relations between keys are in `rules`.
"""

import os
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import PrivateAttr

from retention.files import Places
from retention.texts import Reason, strerror
from sipagent.config import tables
from sipagent.config.errors import ConfigError
from sipagent.config.hours import Schedule
from sipagent.config.sampling import Shares, Window
from sipagent.config.types import Known, Table, is_by_tls, key

PASSWORD_LIMIT = 1024  # bytes read of a password file
SECRET_BYTES = (24, 64)


@dataclass(frozen=True, slots=True)
class Login:
    """Digest credentials; no representation shows the password."""

    username: str
    password: str = field(repr=False)


class Config(Table):
    """The whole file. `sipagent.config.load.load` makes it; nothing changes it afterwards."""

    service: tables.ServiceTable
    trunk: tables.TrunkTable
    hours: tables.HoursTable | None = None
    access: tables.AccessTable = key("a table", {})
    prompts: tables.PromptsTable = key("a table", {})
    refusal: tables.RefusalTable = key("a table", {})
    operators: tables.OperatorsTable
    recording: tables.RecordingTable = key("a table", {})
    capacity: tables.CapacityTable = key("a table", {})
    edge: tables.EdgeTable = key("a table", {})
    metrics: tables.MetricsTable = key("a table", {})
    retention: tables.RetentionTable = key("a table", {})
    web: tables.WebTable = key("a table", {})
    cluster: tables.ClusterTable | None = None
    objects: tables.ObjectsTable | None = None
    events: tables.EventsTable | None = None
    enrol: tables.EnrolTable | None = None
    _file: Path = PrivateAttr()
    _base: Path = PrivateAttr()

    def model_post_init(self, context: Known) -> None:
        """Remember where the file lies."""
        self._file, self._base = context.file, context.base

    @property
    def file(self) -> Path:
        """The file that was read, as it was named."""
        return self._file

    @property
    def base(self) -> Path:
        """The directory that paths are relative to, absolute."""
        return self._base

    def named(self, path: Path) -> str:
        """A path as people read it: relative to the base where it lies below."""
        return str(path.relative_to(self.base) if path.is_relative_to(self.base) else path)

    @property
    def places(self) -> Places:
        """The places of everything that is kept beside the database of this host: with a shared one, the
        journal."""
        return Places(self.database)

    @property
    def kept_places(self) -> Places:
        """Those beside the database with all that is kept; with a shared one, apart from the journal's."""
        return self.places if self.shared is None else self.places.shared

    @property
    def database(self) -> Path:
        """The database of this host; where several share one, the journal of what it does not have yet."""
        if isinstance(self.retention.database, Path):
            return self.retention.database
        return self.base / tables.JOURNAL if self.cluster is None else self.cluster.journal

    @property
    def operators_srtp(self) -> str:
        """Whether operators' sound is encrypted: as the trunk's, unless they have a key of their own."""
        return self.operators.srtp or self.trunk.srtp

    @property
    def operators_by_tls(self) -> bool:
        """Whether each operator is called by TLS."""
        proxy = self.operators.outbound_proxy
        ways = (proxy,) if proxy else (*self.operators.extensions, *self.operators.transfer_targets)
        return all(map(is_by_tls, ways))

    @property
    def voices(self) -> Path:
        """Where colleagues' voices are kept; without `[enrol]` where they were, if there were any."""
        return self.base / tables.VOICES_FOLDER if self.enrol is None else self.enrol.folder

    @property
    def voices_days(self) -> int:
        """How long they may be kept, from the consent on."""
        return tables.VOICES_MOST_DAYS if self.enrol is None else self.enrol.keep_days

    @property
    def shared(self) -> str | None:
        """The URL of the database that hosts share, without its password; None where there is none."""
        return None if isinstance(self.retention.database, Path) else self.retention.database

    @property
    def host(self) -> str | None:
        """Which of several hosts this is; None where there is one."""
        return None if self.cluster is None else self.cluster.host

    def shared_password(self) -> str | None:
        """Read the password of the shared database; None: libpq's own ways. Raises ConfigError."""
        file = self.retention.database_password_file
        return None if file is None else self._password_of(file, "retention.database_password_file")

    def prompt_sets(self) -> tuple[tables.PromptSet, ...]:
        """Give the prompts of every language in use, the default one first; only that one has `choose`."""
        others = [*self.prompts.languages.values(), *self.prompts.choices.values()]
        first, *rest = (self._prompts_in(one) for one in dict.fromkeys([self.service.language, *others]))
        return (replace(first, choose=self.prompts.choose), *rest)

    def _prompts_in(self, language: str) -> tables.PromptSet:
        override = self.prompts.overrides.get(language, tables.PromptFiles())
        names = tables.PromptFiles.model_fields
        files = {name: getattr(override, name) or getattr(self.prompts, name) for name in names}
        files["messages"] = {**self.prompts.messages, **override.messages}
        return tables.PromptSet(
            language=language, **files | {"details": files["details"] or self._beside(files["notice"])}
        )

    def _beside(self, notice: Path) -> Path | None:
        """The details of a notice that lie in its folder, unless their key means something else already."""
        taken = {*self.refusal.refusing, self.refusal.accept_digit, *self.prompts.choices}
        details = notice.with_name("details.wav")
        return details if self.refusal.details_digit not in taken and details.is_file() else None

    def schedule(self) -> Schedule:
        """Give the opening hours; without `[hours]` always open."""
        if self.hours is None:
            return Schedule(self.service.timezone)
        days = self.hours.holidays.named(self.service.language)
        return Schedule(self.service.timezone, self.hours.week, days, self.hours.closed)

    def shares(self) -> Shares:
        """Give the share of calls that is drawn, and who begins a recording, by the time of the week."""
        recording = self.recording
        windows = tuple(
            Window(one.days, one.hours, one.share, (one.begin or recording.begin) == "operator")
            for one in recording.window
        )
        return Shares(self.service.timezone, recording.share, windows, recording.begin == "operator")

    def trunk_login(self, environ: Mapping[str, str] = os.environ) -> Login | None:
        """Read the trunk's credentials; None without a user name. Raises ConfigError."""
        return self._login("trunk", self.trunk, environ)

    def operator_login(self, environ: Mapping[str, str] = os.environ) -> Login | None:
        """Read what the operators' PBX asks for, by default the trunk's. Raises ConfigError."""
        return self._login("operators", self.operators, environ) or self.trunk_login(environ)

    def oidc_secret(self) -> str:
        """Read what the client shows to the OpenID Connect issuer. Raises ConfigError."""
        source = "web.oidc_client_secret_file"
        if self.web.oidc_client_secret_file is None:
            raise ConfigError(self.file, source, "absent")
        return self._password_of(self.web.oidc_client_secret_file, source)

    def event_secrets(self) -> tuple[bytes, ...]:
        """Read the secrets that events are signed with, the newest first. Raises ConfigError."""
        source = "events.secret_file"
        if self.events is None:
            raise ConfigError(self.file, source, "absent")
        accepted = Reason("whsec_ and base64 of {0} to {1} bytes, one a line", *SECRET_BYTES)
        text = self._text_of(self.events.secret_file, source)
        lines = [line.strip() for line in text.split("\n")]
        secrets = [_secret(line) for line in lines if line]
        if not secrets:
            raise ConfigError(self.file, source, "holds no secret", accepted)
        if None in secrets:
            number = next(number for number, line in enumerate(lines, 1) if line and not _secret(line))
            raise ConfigError(self.file, source, Reason("line {0} is no secret", number), accepted)
        return tuple(filter(None, secrets))

    def _login(self, table: str, where: tables.CredentialsTable, environ: Mapping[str, str]) -> Login | None:
        if not where.username:
            return None
        if where.password_file is None:
            password = self._line(environ.get(where.password_env, ""), f"{table}.password_env")
        else:
            password = self._password_of(where.password_file, f"{table}.password_file")
        return Login(where.username, password)

    def _line(self, password: str, source: str) -> str:
        if not password:
            raise ConfigError(self.file, source, "holds no password")
        if not password.isprintable():
            raise ConfigError(self.file, source, "holds more than one line or control characters")
        return password

    def _password_of(self, path: Path, source: str) -> str:
        return self._line(self._text_of(path, source), source)

    def _text_of(self, path: Path, source: str) -> str:
        try:
            with path.open("rb") as file:
                return file.read(PASSWORD_LIMIT).decode().rstrip("\r\n")
        except OSError as error:
            raise ConfigError(self.file, source, Reason("{0}: {1}", path, strerror(error))) from error
        except UnicodeDecodeError as error:
            raise ConfigError(self.file, source, Reason("{0} is not UTF-8 text", path)) from error


def _secret(line: str) -> bytes | None:
    """What it stands for (standardwebhooks.com, "Signature scheme"); None if it is none."""
    marked, _, text = line.partition("_")
    try:
        secret = b64decode(text, validate=True)
    except ValueError:
        return None
    least, most = SECRET_BYTES
    return secret if marked == "whsec" and least <= len(secret) <= most else None
