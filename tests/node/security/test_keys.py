from pathlib import Path

import pytest

from gossip.identity import BOOT_EPOCH, LATEST_TIMED, MAX_BOOT, node_id
from node.security.keys import (
    BadKey,
    ClusterKey,
    load_cluster_key,
    load_keys,
    new_cluster_key,
    next_boot,
    raise_boot,
    read_cluster_key,
    store_cluster_key,
)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_node_key_is_made_once_and_private(tmp_path: Path) -> None:
    keys = load_keys(tmp_path / "new")
    assert load_keys(tmp_path / "new") == keys
    assert keys.id == node_id(keys.pair.public)
    assert mode(tmp_path / "new" / "node.key") == 0o600
    assert keys.pair.secret.decode() not in repr(keys)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_keys(tmp_path)
    (tmp_path / "node.key").chmod(0o644)
    with pytest.raises(BadKey, match="chmod 600"):
        load_keys(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40, b"x" * 41])
def test_a_damaged_node_key_is_named(tmp_path: Path, content: bytes) -> None:
    load_keys(tmp_path)
    (tmp_path / "node.key").write_bytes(content)
    with pytest.raises(BadKey, match=r"node\.key holds no node key: restore it"):
        load_keys(tmp_path)


def test_boots_rise_while_the_clock_stands_still_and_are_kept(tmp_path: Path) -> None:
    assert [raise_boot(tmp_path, clock=lambda: 0.0) for _ in range(3)] == [1, 2, 3]
    assert (tmp_path / "boot").read_text() == "3\n"


def test_a_boot_number_put_back_to_an_old_copy_is_passed_by_the_clock(tmp_path: Path) -> None:
    clock = map(float, (BOOT_EPOCH + 1000, BOOT_EPOCH + 1010, BOOT_EPOCH + 1020, BOOT_EPOCH + 1021)).__next__
    first = raise_boot(tmp_path, clock=clock)
    backup = (tmp_path / "boot").read_bytes()
    lost = [raise_boot(tmp_path, clock=clock), raise_boot(tmp_path, clock=clock)]
    (tmp_path / "boot").write_bytes(backup)
    assert first < max(lost) < raise_boot(tmp_path, clock=clock)


def test_a_clock_that_is_set_back_never_lowers_a_boot(tmp_path: Path) -> None:
    clock = iter((BOOT_EPOCH + 50.0, 0.0, 7e9, 0.0)).__next__
    boots = [raise_boot(tmp_path, clock=clock) for _ in range(4)]
    assert boots == [50, 51, LATEST_TIMED, LATEST_TIMED + 1]
    assert next_boot(tmp_path, above=LATEST_TIMED + 8) == LATEST_TIMED + 9


@pytest.mark.parametrize("content", ["", "x", "-1", "9" * 11, str(MAX_BOOT)])
def test_a_damaged_boot_number_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "boot").write_text(content)
    with pytest.raises(BadKey, match="holds no boot number"):
        raise_boot(tmp_path)


def test_the_cluster_key_survives_its_file_and_shows_nowhere(tmp_path: Path) -> None:
    key = new_cluster_key()
    assert load_cluster_key(tmp_path) is None
    store_cluster_key(tmp_path, key)
    assert load_cluster_key(tmp_path) == key
    assert mode(tmp_path / "cluster.key") == 0o600
    assert repr(key.secret) not in repr(key)
    assert key.secret.hex() not in key.mesh_id


def test_derived_pairs_are_stable_and_distinct() -> None:
    key, other = ClusterKey(b"a" * 32), ClusterKey(b"b" * 32)
    pairs = [key.join_server, key.join_client, other.join_server, other.join_client]
    assert len({pair.public for pair in pairs}) == 4
    assert key.join_server == ClusterKey(b"a" * 32).join_server
    assert key.mesh_id != other.mesh_id


@pytest.mark.parametrize("text", ["", "cmk1-", "cmk1-aaaa", "cmk1-!!!!", "a" * 60])
def test_a_bad_key_file_is_named_without_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.key"
    path.write_text(text)
    with pytest.raises(BadKey) as caught:
        read_cluster_key(path)
    assert str(path) in str(caught.value)
    assert len(text) < 6 or text not in str(caught.value)


def test_an_absent_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadKey, match=r"cannot read the key file .*absent: No such file"):
        read_cluster_key(tmp_path / "absent")
