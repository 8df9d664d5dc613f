"""A list in parts of bounded size. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_portions(items: Iterable[T], size_of: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """In order, each of at most `most` bytes; what is larger by itself comes alone."""
    portion: list[T] = []
    size = 0
    for item in items:
        length = size_of(item)
        if portion and size + length > most:
            yield portion
            portion, size = [], 0
        portion.append(item)
        size += length
    if portion:
        yield portion
