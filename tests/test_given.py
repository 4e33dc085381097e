"""What the edge keeps of the last message that a worker was given."""

import pytest

from sipagent.edge.rpc import given


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("call=1f method=INVITE status=<null> body=217 media=1 size=608", ("INVITE", "1", "1000")),
        ("call= method=INVITE within=1 body=900 media=12 size=1500", ("re-INVITE", "9", "1500")),
        ("call= method=INVITE status=200 body=300 media=2 size=901", ("2xx of INVITE", "2", "1000")),
        ("call= method=ACK status=<null> within=1 body=0 media=0 size=1", ("ACK", "none", "500")),
        ("call= method=x{y} status=<null> body=<null> media=<null> size=-4", ("other", "none", "0")),
        ("", ("other", "none", "0")),
    ],
)
def test_its_shape_is_one_of_few(text: str, shape: tuple[str, str, str]) -> None:
    assert given(text).shape == shape


def test_it_is_told_without_its_content() -> None:
    said = given(
        "call=1f method=ACK status=<null> within=1 body=<null> media=0 size=400 source=[2001:db8::1]:5060"
    )
    assert str(said) == "ACK, no body, 400 bytes, from [2001:db8::1]:5060"
