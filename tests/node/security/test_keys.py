from pathlib import Path

import pytest

from gossip.identity import node_id
from gossip.member import MAX_BOOT
from node.security.keys import (
    BadKey,
    ClusterKey,
    boot_floor,
    load_cluster_key,
    load_keys,
    new_cluster_key,
    raise_boot,
    read_cluster_key,
    store_cluster_key,
    unpack_cluster_key,
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


def test_boots_rise_by_one_and_are_kept(tmp_path: Path) -> None:
    assert [raise_boot(tmp_path) for _ in range(3)] == [1, 2, 3]
    assert (tmp_path / "boot").read_text() == "3\n"


def test_a_restored_data_directory_repeats_no_boot(tmp_path: Path) -> None:
    backup = raise_boot(tmp_path, boot_floor(1_800_000_000.0))
    later = raise_boot(tmp_path, boot_floor(1_800_000_060.0))
    (tmp_path / "boot").write_text(f"{backup}\n")
    assert raise_boot(tmp_path, boot_floor(1_800_000_120.0)) > later > backup


def test_a_clock_that_stands_or_is_wrong_leaves_the_counter() -> None:
    assert boot_floor(0.0) == 0
    assert boot_floor(1e12) < MAX_BOOT - 1_000_000


@pytest.mark.parametrize("content", ["", "x", "-1", "9" * 11, str(MAX_BOOT)])
def test_a_damaged_boot_counter_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "boot").write_text(content)
    with pytest.raises(BadKey, match="holds no boot counter"):
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
    assert key.join_server.public != other.join_server.public
    assert len({one.proof(who) for one in (key, other) for who in (b"n" * 40, b"m" * 40)}) == 4
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


def test_a_rotated_key_is_of_the_same_mesh_and_later(tmp_path: Path) -> None:
    first = new_cluster_key()
    second = first.rotated()
    third = second.rotated()
    assert first.mesh_id == second.mesh_id == third.mesh_id
    assert len({key.join_server.public for key in (first, second, third)}) == 3
    assert third.replaces(second)
    assert second.replaces(first)
    assert not first.replaces(second)
    assert not first.replaces(first)
    assert not new_cluster_key().rotated().replaces(first)
    for key in (first, second, third):
        assert unpack_cluster_key(key.packed()) == key
        store_cluster_key(tmp_path, key)
        assert load_cluster_key(tmp_path) == key


@pytest.mark.parametrize("data", [b"", b"x" * 31, b"x" * 43, b"x" * 32 + b"\0" * 12])
def test_what_is_no_key_is_not_unpacked(data: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        unpack_cluster_key(data)
