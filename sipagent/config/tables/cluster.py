"""More than one host: [cluster], [objects], and the address of a shared database."""

import re
from typing import Annotated

from pydantic import PlainValidator

from sipagent.config import types
from sipagent.config.keys import FilePath, OptionalPath, Table, Text, key, optional, seconds

LEASE_S = 12.0


class DatabaseUrl(str):
    """The address of a PostgreSQL database, as libpq takes it; never with a password."""

    __slots__ = ()


def database_url(value: str) -> DatabaseUrl:
    """Take a `postgresql:` URL without a password, since every error would show it."""
    from psycopg.conninfo import conninfo_to_dict  # slow to import; most hosts have a file
    from psycopg.errors import ProgrammingError

    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("is not a postgresql URL")
    try:
        parts = conninfo_to_dict(value)
    except ProgrammingError as wrong:
        raise ValueError("is not a postgresql URL") from wrong
    if parts.get("password"):
        raise ValueError("has a password, which belongs in retention.database_password_file")
    if not parts.get("dbname"):
        raise ValueError("names no database")
    return DatabaseUrl(value)


def database_servers(url: str) -> list[str]:
    """Where that database is: names or addresses of its servers; of a socket of this host, `localhost`."""
    from psycopg.conninfo import conninfo_to_dict  # slow to import; most hosts have a file

    parts = conninfo_to_dict(url)
    named = str(parts.get("host") or parts.get("hostaddr") or "")
    return [name for name in named.split(",") if name and not name.startswith("/")] or ["localhost"]


def _host_name(value: object) -> str:
    if not re.fullmatch(r"[a-z0-9]{1,16}", types.required_text(value), re.ASCII):
        raise ValueError("is not a short name")
    return types.required_text(value)


def _bucket_url(value: object) -> str:
    """Take `s3://bucket` or `s3://bucket/prefix`; bucket names as S3 has them."""
    url = types.required_text(value).removesuffix("/")
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*", url, re.ASCII):
        raise ValueError("is not the URL of a bucket")
    return url


class ClusterTable(Table):
    """Which of several hosts this is."""

    host: Annotated[str, PlainValidator(_host_name)] = key("up to 16 small letters and digits such as a")
    journal: FilePath = key("a file", "journal.db")
    lease_s: float = seconds(4, 120, LEASE_S)


class ObjectsTable(Table):
    """Where recordings and their sealed keys are kept, in place of files."""

    url: Annotated[str, PlainValidator(_bucket_url)] = key("s3://bucket or s3://bucket/prefix")
    endpoint: Annotated[str | None, optional(types.web_url)] = key(
        "the https or http URL of an S3-compatible store; absent: Amazon's", None
    )
    region: Text = key("a region, as the store names it", "")
    credentials_file: OptionalPath = key(
        "a file with aws_access_key_id and aws_secret_access_key, as AWS's own tools have it", None
    )

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """What every name in it begins with: empty, or ended by a slash."""
        _, slash, prefix = self.url.removeprefix("s3://").partition("/")
        return prefix + slash

    @property
    def address(self) -> str:
        """The URL of the store: Amazon's has the region in its name."""
        region = f".{self.region}" if self.region else ""
        return self.endpoint or f"https://s3{region}.amazonaws.com"
