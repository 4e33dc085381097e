"""Small secret things as objects, each put once under a name of its own: bundles of keys."""

import hashlib
from typing import Protocol

from retention.objects.client import Bucket
from retention.objects.removals import remove_name


class ObjectBlobs:
    """A `Blobs`: bytes by name. Everything raises ObjectError, an OSError."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def put(self, name: str, content: bytes) -> str:
        """Keep it; its version, empty where the bucket keeps none."""
        return self._bucket.put(name, content, hashlib.sha256(content).hexdigest()) or ""

    def get(self, name: str, version: str = "") -> bytes:
        """Raises FileNotFoundError."""
        return self._bucket.content(name, version or None)

    def remove(self, name: str, version: str = "") -> None:
        """Remove that version, or without one each, also where its put was never answered; it may be gone."""
        if version:
            self._bucket.remove(name, version)
        else:
            remove_name(self._bucket, name)

    def where(self, name: str) -> str:
        """Its URL."""
        return self._bucket.url(name)


class Files(Protocol):
    """Where they lay before there was a store of objects."""

    def get(self, name: str, version: str = "") -> bytes: ...

    def remove(self, name: str, version: str = "") -> None: ...


class RisingBlobs:
    """A `Blobs` of objects, some of which are still files of this host: what is put goes up."""

    def __init__(self, objects: ObjectBlobs, files: Files) -> None:
        self._objects = objects
        self._files = files

    def put(self, name: str, content: bytes) -> str:
        """Keep it as an object; its version."""
        return self._objects.put(name, content)

    def get(self, name: str, version: str = "") -> bytes:
        """Raises FileNotFoundError where it is neither."""
        try:
            return self._files.get(name)
        except FileNotFoundError:
            return self._objects.get(name, version)

    def remove(self, name: str, version: str = "") -> None:
        """Remove both."""
        self._files.remove(name)
        self._objects.remove(name, version)

    def where(self, name: str) -> str:
        """Its URL."""
        return self._objects.where(name)
