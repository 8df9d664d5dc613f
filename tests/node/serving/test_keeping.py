"""What is read from the archive, and what is said where it is damaged."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from node.service import Refused
from node.serving.driver import Driver
from node.serving.keeping import Keeping, Pace
from state.storage.archive import Archive
from tests.node.stewardship.desk import Desk
from tests.state.storage.test_archive import row


def test_a_damaged_row_is_answered_with_the_file_and_the_remedy(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive.sqlite")
    archive.stage(3, msgspec.structs.replace(row("one"), data=b"rot"))
    archive.commit()
    keeping = Keeping(cast(Driver, SimpleNamespace(core=Desk().core)), archive, Pace())
    assert keeping.read(3, "two") is None
    with pytest.raises(Refused, match=r"archive\.sqlite is damaged at one; .*--salvage") as caught:
        keeping.read(3, "one")
    assert caught.value.problem.status == 500
    archive.close()


class NoFiles:
    def files(self) -> list[int]:
        raise OSError(24, "Too many open files")


def test_a_folder_that_cannot_be_read_does_not_end_the_upkeep(tmp_path: Path) -> None:
    """It ended it for ever: after a flood of connections nothing was folded any more."""
    archive = Archive(tmp_path / "archive.sqlite")
    driver = SimpleNamespace(core=Desk().core, log=NoFiles(), now=lambda: 5.0)
    keeping = Keeping(cast(Driver, driver), archive, Pace())
    assert list(keeping.look()) == []
    archive.close()
