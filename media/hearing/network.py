"""Reads a network's file (ONNX, which is a protobuf message): its first part only, and its weights.

It knows only these fields of the format: ModelProto.graph = 7; GraphProto.node = 1, initializer = 5, input =
11, output = 12; NodeProto.input = 1, output = 2; ValueInfoProto.name = 1; TensorProto.dims = 1, name = 8,
raw_data = 9 (onnx/onnx.proto).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_GRAPH, _NODE, _INITIALIZER, _OUTPUT = 7, 1, 5, 12
_LENGTH_DELIMITED = 2


def first_part(model: bytes, output: str) -> bytes:
    """The model that ends with the value `output`, of any shape: leaves out what comes after it."""
    (graph,) = _all(model, _GRAPH)
    kept: list[bytes] = []
    done = False
    for node in _all(graph, _NODE):  # in the order in which they are computed, as ONNX demands
        if not done:
            kept.append(node)
            done = output.encode() in _all(node, 2)
    used = {name for node in kept for name in _all(node, 1)}
    parts = [_part(_NODE, node) for node in kept]
    parts += [_part(_INITIALIZER, held) for held in _all(graph, _INITIALIZER) if _all(held, 8)[0] in used]
    others = [(number, value) for number, value in _fields(graph) if isinstance(value, bytes)]
    parts += [
        _part(number, value) for number, value in others if number not in (_NODE, _INITIALIZER, _OUTPUT)
    ]
    # 1 = float32; without a shape, a tensor may have any size
    parts.append(_part(_OUTPUT, _part(1, output.encode()) + _part(2, _part(1, b"\x08\x01"))))
    told = [_varint_field(number, value) for number, value in _fields(model) if isinstance(value, int)]
    told += [
        _part(number, value)
        for number, value in _fields(model)
        if isinstance(value, bytes) and number != _GRAPH
    ]
    return b"".join(told) + _part(_GRAPH, b"".join(parts))


def tensors(model: bytes) -> dict[str, NDArray[np.float32]]:
    """Its float32 weights by name."""
    (graph,) = _all(model, _GRAPH)
    found = {}
    for held in _all(graph, _INITIALIZER):
        shape = [value for number, value in _fields(held) if number == 1 and isinstance(value, int)]
        raw = _all(held, 9)
        if (2, 1) in list(_fields(held)) and raw:  # data_type FLOAT
            found[_all(held, 8)[0].decode()] = np.frombuffer(raw[0], dtype="<f4").reshape(shape)
    return found


def _all(message: bytes, wanted: int) -> list[bytes]:
    return [value for number, value in _fields(message) if number == wanted and isinstance(value, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field; a length-delimited value as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            whole, at = _varint(message, at)
            yield number, whole
            continue
        size, at = _varint(message, at) if kind == _LENGTH_DELIMITED else ({1: 8, 5: 4}[kind], at)
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if message[at - 1] < 0x80:
            return value, at


def _written(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _varint_field(number: int, value: int) -> bytes:
    return _written(number << 3) + _written(value)


def _part(number: int, value: bytes) -> bytes:
    return _written(number << 3 | _LENGTH_DELIMITED) + _written(len(value)) + value
