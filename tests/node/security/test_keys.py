from pathlib import Path

import pytest

from gossip.identity import node_id
from node.security.keys import (
    BOOT_EPOCH,
    BadKey,
    ClusterKey,
    keep_boot,
    load_cluster_key,
    load_keys,
    new_cluster_key,
    next_boot,
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


def test_boots_rise_by_one_and_are_kept(tmp_path: Path) -> None:
    for wall in (0, BOOT_EPOCH + 2, 0):
        keep_boot(tmp_path, next_boot(tmp_path, wall=wall))
    assert (tmp_path / "boot").read_text() == "3\n"


def test_a_boot_is_never_used_twice_also_after_a_restored_backup(tmp_path: Path) -> None:
    """The counter alone repeats them: the lives since the backup are forgotten."""
    keep_boot(tmp_path, backup := next_boot(tmp_path, wall=BOOT_EPOCH + 1000))
    lives = []
    for wall in (1005, 1005, 1005, 1100):
        keep_boot(tmp_path, next_boot(tmp_path, wall=BOOT_EPOCH + wall))
        lives.append(next_boot(tmp_path, wall=0) - 1)
    assert lives == sorted(set(lives))
    keep_boot(tmp_path, backup)
    assert next_boot(tmp_path, wall=BOOT_EPOCH + 1200) > lives[-1]


@pytest.mark.parametrize("content", ["", "x", "-1", "9" * 11])
def test_a_damaged_boot_counter_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "boot").write_text(content)
    with pytest.raises(BadKey, match="holds no boot counter"):
        next_boot(tmp_path, wall=0)


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
