"""A Merkle tree over a list that only grows, hashed as RFC 9162 does (section 2.1), with SHA-256.

A root stands for the whole list. A proof of some twenty hashes shows that one leaf is in it, another that a
longer list begins with a shorter one. Nothing here reads a clock, a file or a database.

A leaf is hashed behind a zero byte, a node's two halves behind a one. `Nodes` gives the hash of any full part
of the tree: at `level` 0 a leaf's, above it that of 2^level leaves from `place` × 2^level on.
"""

import hashlib
from collections.abc import Callable, Sequence

Nodes = Callable[[int, int], bytes]
"""`nodes(level, place)`."""

EMPTY = hashlib.sha256().digest()  # the root of no leaf at all


def leaf(content: bytes) -> bytes:
    """The hash of one leaf."""
    return hashlib.sha256(b"\0" + content).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of what stands above two."""
    return hashlib.sha256(b"\1" + left + right).digest()


def folded(hashes: Sequence[bytes]) -> bytes:
    """The hash above a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


class Frontier:
    """The tree of what has been added so far, as the hashes of its full parts: 24 for ten million leaves."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []  # the largest first

    def add(self, content: bytes) -> None:
        """One more leaf."""
        hash, size = leaf(content), self.size
        while size & 1:
            hash, size = node(self._parts.pop(), hash), size >> 1
        self._parts.append(hash)
        self.size += 1

    def root(self) -> bytes:
        """Of all leaves until now."""
        if not self._parts:
            return EMPTY
        *others, hash = self._parts
        for part in reversed(others):
            hash = node(part, hash)
        return hash


def root(nodes: Nodes, size: int) -> bytes:
    """The root of the first `size` leaves."""
    return _hash(nodes, 0, size) if size else EMPTY


def inclusion(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """The proof that leaf `index` is among the first `size`, the nearest hash first (section 2.1.3.1)."""
    path, start = [], 0
    while size > 1:
        half = _left(size)
        if index < half:
            path.append(_hash(nodes, start + half, size - half))
            size = half
        else:
            path.append(_hash(nodes, start, half))
            start, index, size = start + half, index - half, size - half
    return path[::-1]


def consistency(nodes: Nodes, old: int, new: int) -> list[bytes]:
    """The proof that the first `new` leaves begin with the first `old`: 0 < old ≤ new (section 2.1.4.1)."""
    path, start, whole = [], 0, True  # whole: the old tree's root, which the reader knows
    while old < new:
        half = _left(new)
        if old <= half:
            path.append(_hash(nodes, start + half, new - half))
            new = half
        else:
            path.append(_hash(nodes, start, half))
            start, old, new, whole = start + half, old - half, new - half, False
    return ([] if whole else [_hash(nodes, start, new)]) + path[::-1]


def is_included(content: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof leads from this leaf to this root (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    hash, at, last = leaf(content), index, size - 1
    for other in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            hash = node(other, hash)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            hash = node(hash, other)
        at, last = at >> 1, last >> 1
    return last == 0 and hash == root


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the larger tree begins with the smaller one (section 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node(other, before), node(other, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node(after, other)
        at, last = at >> 1, last >> 1
    return last == 0 and (before, after) == (old_root, new_root)


def _left(size: int) -> int:
    """How many of `size` > 1 leaves are in the left part: the largest power of two that is less."""
    return 1 << (size - 1).bit_length() - 1


def _hash(nodes: Nodes, start: int, size: int) -> bytes:
    """Of `size` leaves from `start` on, where a full part begins."""
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return nodes(level, start >> level)
    half = _left(size)
    return node(_hash(nodes, start, half), _hash(nodes, start + half, size - half))
