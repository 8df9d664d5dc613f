"""The tasks on a steward's table that are looked after one by one."""

from node.stewardship.work import TaskWork, WorkKey


class Works(dict[WorkKey, TaskWork]):
    """By key. Those of a slot are found without a look at all: many slots may go at once, and many archive something
    all the time. Only `works[key] = work` and `pop(key)` change it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._slots: dict[int, set[WorkKey]] = {}

    def __setitem__(self, key: WorkKey, work: TaskWork) -> None:
        super().__setitem__(key, work)
        self._slots.setdefault(key[0], set()).add(key)

    def pop(self, key: WorkKey) -> TaskWork:  # type: ignore[override]  # no default: it is there
        work = super().pop(key)
        of_slot = self._slots[key[0]]
        of_slot.remove(key)
        if not of_slot:
            del self._slots[key[0]]
        return work

    def of_slot(self, slot: int) -> list[WorkKey]:
        """In order."""
        return sorted(self._slots.get(slot, ()))
