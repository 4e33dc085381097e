"""A loop that names each that fails, where a case for each would cost more than what it checks."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def each(
    values: Iterable[T], ids: Callable[[T], str] = str
) -> Callable[[Callable[[T], None]], Callable[[], None]]:
    """`@each(PAGES)` runs the test with each of them; all that fail are told, each by its name."""
    every = list(values)

    def looped(test: Callable[[T], None]) -> Callable[[], None]:
        def of_each() -> None:
            assert every, "nothing to look at"
            failed = []
            for value in every:
                try:
                    test(value)
                except AssertionError as error:
                    error.add_note(f"of {ids(value)}")
                    failed.append(error)
            if failed:
                raise ExceptionGroup(f"{len(failed)} of {len(every)}", failed)

        of_each.__name__, of_each.__doc__ = test.__name__, test.__doc__
        return of_each

    return looped
