"""The files and examples of the pages on several hosts, read by those whom they are for."""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from retention.objects.bucket import Bucket, BucketPlace
from tests.configured import CONTRACT, read, with_keys
from tests.loopback import ROOT
from tests.postgres import Server
from tests.s3 import REGION, Moto
from tests.test_docs import examples

FILES = ROOT / "deploy/cluster"
BUCKET = "calls"  # as policy.json has it
NO_TLS = "hostssl record cannot match because SSL is disabled"


@pytest.fixture(scope="module")
def store() -> Iterator[Moto]:
    with Moto() as store:
        yield store


@pytest.fixture
def bucket(store: Moto, tmp_path: Path) -> Iterator[Bucket]:
    """For somebody who has the rights of policy.json, and no others."""
    store.bucket(BUCKET)
    iam = boto3.client(
        "iam",
        endpoint_url=store.endpoint,
        region_name=REGION,
        aws_access_key_id="root",
        aws_secret_access_key="root",
    )
    iam.create_user(UserName="sipagent")
    policy = (FILES / "policy.json").read_text(encoding="utf-8")
    iam.put_user_policy(UserName="sipagent", PolicyName="least", PolicyDocument=policy)
    made = iam.create_access_key(UserName="sipagent")["AccessKey"]
    credentials = tmp_path / "objects"
    credentials.write_text(
        f"[default]\naws_access_key_id = {made['AccessKeyId']}\n"
        f"aws_secret_access_key = {made['SecretAccessKey']}\n"
    )
    credentials.chmod(0o600)
    requests.post(f"{store.endpoint}/moto-api/reset-auth", data=b"0", timeout=10)
    yield Bucket(BucketPlace(BUCKET, "", store.endpoint, REGION, credentials))
    requests.post(f"{store.endpoint}/moto-api/reset-auth", data=b"inf", timeout=10)


def test_the_rights_of_the_policy_are_enough(bucket: Bucket) -> None:
    """For all that the program asks of a store; and they are not those to change the bucket."""
    said = b"sealed"
    version = bucket.put("recordings/1.sealed", io.BytesIO(said), hashlib.sha256(said).hexdigest())
    assert version and bucket.look("recordings/1.sealed") is not None
    assert bucket.look("recordings/2.sealed") is None
    assert bucket.content("recordings/1.sealed", version) == said
    bucket.hold("recordings/1.sealed", version, on=True)
    bucket.hold("recordings/1.sealed", version, on=False)
    assert bucket.locking().locks
    assert list(bucket.versions("recordings/") or ()) == [("recordings/1.sealed", version)]
    bucket.remove("recordings/1.sealed", version)
    assert list(bucket.versions("recordings/") or ()) == []
    with pytest.raises(ClientError, match="AccessDenied"):
        bucket._s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})


def test_postgresql_reads_who_may_come_in(postgres: Server) -> None:
    """As far as a server without TLS does; what it is running with stays."""
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text(encoding="utf-8")
    rules.write_text((FILES / "pg_hba.conf").read_text(encoding="utf-8") + before, encoding="utf-8")
    try:
        with postgres.connect("postgres", "postgres") as asking:
            sql = "SELECT type, user_name, auth_method, error FROM pg_hba_file_rules LIMIT 3"
            found = asking.execute(sql).fetchall()
    finally:
        rules.write_text(before, encoding="utf-8")
    assert found == [
        ("local", ["postgres"], "peer", None),
        ("hostssl", ["sipagent"], "scram-sha-256", NO_TLS),
        ("hostssl", ["replication"], "scram-sha-256", NO_TLS),
    ]


@pytest.mark.parametrize("page", ["docs/en/cluster.md", "docs/en/in-front.md"])
def test_what_the_pages_print_is_a_configuration(page: str, tmp_path: Path) -> None:
    for example in examples(page):
        text = CONTRACT.replace("recipients = []", 'recipients = ["quality.pub"]')
        for table, keys in tomllib.loads(example).items():
            lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
            text = with_keys(table, lines, text)
        assert read(text, tmp_path / "config.toml")
