"""What a node needs of the host's limits."""

import resource

import pytest

from node.data_directory import CannotStart
from node.tuning import LEAST_FILES, require_files


@pytest.mark.parametrize("most", [10, LEAST_FILES - 1])
def test_too_few_open_files_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, most))
    with pytest.raises(CannotStart, match=rf"{most} files open \(ulimit -Hn\).*raise the limit"):
        require_files()


@pytest.mark.parametrize("most", [LEAST_FILES, resource.RLIM_INFINITY])
def test_enough_open_files(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, most))
    require_files()
