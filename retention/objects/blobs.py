"""Small secret things as objects, each put once under a name of its own: bundles of keys."""

import hashlib

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
