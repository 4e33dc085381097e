"""Texts that PostgreSQL does not take as they are."""

from hypothesis import example, given
from hypothesis import strategies as st

from retention.postgres.connection import put_in, taken_out

TEXTS = st.text(st.sampled_from("\0\ue00001a") | st.characters(), max_size=20)


@given(text=TEXTS)
@example("\ue0000")
@example("\ue000\0")
@example("\ue0001\ue000")
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    assert "\0" not in put_in(text)
    assert taken_out(put_in(text)) == text


@given(one=TEXTS, other=TEXTS)
def test_no_two_texts_become_one(one: str, other: str) -> None:
    assert (put_in(one) == put_in(other)) == (one == other)


@given(text=st.text(st.characters(exclude_characters="\0\ue000")))
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert put_in(text) == taken_out(text) == text
