"""Where the envelopes lie in the log: for each slot and author a place a sequence, from the last fold on."""

from array import array
from collections.abc import Mapping

from state.envelope import Writer
from state.storage.log import Location


class Places:
    """A place is a log location packed into 64 bits; an author's places are in ascending order, but of those whom a
    mended log has in another one.
    """

    def __init__(self) -> None:
        self._floors: dict[tuple[int, str], int] = {}
        self._found: dict[tuple[int, str], array[int]] = {}
        self._unordered: set[tuple[int, str]] = set()

    def note(self, slot: int, author: str, seq: int, location: Location) -> None:
        """The author's next envelope is here; others (heard twice, or folded by now) are ignored."""
        places = self._found.get((slot, author))
        if places is None:
            places = self._found[slot, author] = array("Q")
        if seq == self._floors.get((slot, author), 0) + len(places) + 1:
            place = location.file << 40 | location.offset
            if places and place < places[-1]:
                self._unordered.add((slot, author))
            places.append(place)

    def between(self, slot: int, author: str, first: int, last: int) -> list[Location]:
        floor = self._floors.get((slot, author), 0)
        places = self._found.get((slot, author), array("Q"))
        return [_location(place) for place in places[max(0, first - floor - 1) : max(0, last - floor)]]

    def after(self, at: tuple[int, str, int], count: int) -> list[tuple[int, str, int, Location]]:
        """The next envelopes in the order of slot, author, sequence."""
        found: list[tuple[int, str, int, Location]] = []
        for slot, author in sorted(name for name in list(self._found) if name >= at[:2]):
            floor = self._floors.get((slot, author), 0)
            first = max(floor, at[2]) if (slot, author) == at[:2] else floor
            places = self.between(slot, author, first + 1, first + count - len(found))
            found += [(slot, author, first + number, place) for number, place in enumerate(places, 1)]
            if len(found) == count:
                break
        return found

    def slots_in(self, file: int) -> list[int]:
        """The slots of which something lies in a file."""
        return sorted(
            {slot for (slot, _), places in list(self._found.items()) if any(p >> 40 == file for p in places)}
        )

    def trim(self, slot: int, floors: Mapping[Writer, int]) -> None:
        """All up to the floors is in the base."""
        for author, floor in floors.items():
            before = self._floors.get((slot, author), 0)
            if floor > before:
                self._floors[slot, author] = floor
                rest = self._found.get((slot, author), array("Q"))[floor - before :]
                if rest:
                    self._found[slot, author] = rest
                else:
                    self._found.pop((slot, author), None)
                    self._unordered.discard((slot, author))

    def oldest(self) -> dict[int, list[int]]:
        """File number -> the slots whose first envelope lies there."""
        found: dict[int, list[int]] = {}
        for (slot, author), places in self._found.items():
            if places:
                first = min(places) if (slot, author) in self._unordered else places[0]
                found.setdefault(first >> 40, []).append(slot)
        return found


def _location(place: int) -> Location:
    return Location(place >> 40, place & ((1 << 40) - 1))
