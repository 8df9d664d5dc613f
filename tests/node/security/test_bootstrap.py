"""What a node does at its start, for each of the things it may be given."""

from pathlib import Path

import pytest

from node.discovery.mdns import Found
from node.security.bootstrap import Given, Refuse, Start, decide
from node.security.keys import BadKey, ClusterKey, load_cluster_key, new_cluster_key, store_cluster_key
from node.security.token import BadToken, JoinToken, OneTimeToken

KEY = new_cluster_key()
TOKEN = JoinToken(("192.0.2.1:8703",), KEY).text()


class Network:
    """What mDNS would find, and whether it was asked."""

    def __init__(self, *found: Found) -> None:
        self.found, self.asked = list(found), False

    async def __call__(self, seconds: float) -> list[Found]:
        assert seconds == 3.0
        self.asked = True
        return self.found


async def test_alone_it_founds_a_mesh_and_keeps_the_key(tmp_path: Path) -> None:
    network = Network()
    start = await decide(tmp_path, Given(), network)
    assert isinstance(start, Start)
    assert start.founded
    assert network.asked
    assert load_cluster_key(tmp_path) == start.cluster
    again = await decide(tmp_path, Given(), Network(Found("m", "r", "a:1")))
    assert again == Start(start.cluster, founded=False)


async def test_beside_a_mesh_it_refuses_and_says_how_to_join(tmp_path: Path) -> None:
    answer = await decide(tmp_path, Given(), Network(Found("0123456789abcdef", "eu", "192.0.2.7:8703")))
    assert isinstance(answer, Refuse)
    for part in ("192.0.2.7:8703", "0123456789abcdef", "--join", "--key-file", "--no-mdns"):
        assert part in answer.message
    assert load_cluster_key(tmp_path) is None


async def test_without_search_it_founds_a_mesh(tmp_path: Path) -> None:
    network = Network(Found("m", "r", "a:1"))
    start = await decide(tmp_path, Given(mdns=False), network)
    assert isinstance(start, Start)
    assert start.founded
    assert not network.asked


async def test_a_member_that_has_lost_the_key_founds_no_second_mesh(tmp_path: Path) -> None:
    (tmp_path / "roster").write_bytes(b"whatever")
    answer = await decide(tmp_path, Given(mdns=False), Network())
    assert isinstance(answer, Refuse)
    for part in (str(tmp_path), "has no cluster.key", "--key-file", "--data-dir"):
        assert part in answer.message
    assert load_cluster_key(tmp_path) is None
    assert isinstance(await decide(tmp_path, Given(join=TOKEN), Network()), Start)


async def test_a_token_is_kept_and_its_addresses_tried(tmp_path: Path) -> None:
    start = await decide(tmp_path, Given(join=TOKEN), Network())
    assert start == Start(KEY, founded=False, addresses=("192.0.2.1:8703",))
    assert load_cluster_key(tmp_path) == KEY
    assert await decide(tmp_path, Given(join=TOKEN), Network()) == start


async def test_a_key_file_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "given.key"
    file.write_text(KEY.text())
    start = await decide(tmp_path / "data", Given(key_file=file, seeds=("a:1",)), Network())
    assert start == Start(KEY)
    assert load_cluster_key(tmp_path / "data") == KEY


async def test_a_token_and_a_key_file_of_two_meshes_are_refused(tmp_path: Path) -> None:
    other = new_cluster_key()
    (tmp_path / "key").write_text(other.text())
    data = tmp_path / "data"
    answer = await decide(data, Given(join=TOKEN, key_file=tmp_path / "key"), Network())
    assert isinstance(answer, Refuse)
    for part in (KEY.mesh_id, other.mesh_id, "--join", "mesh.key_file"):
        assert part in answer.message
    assert not data.exists()
    (tmp_path / "key").write_text(KEY.text())
    data.mkdir()
    assert isinstance(await decide(data, Given(join=TOKEN, key_file=tmp_path / "key"), Network()), Start)


async def test_seeds_without_a_key_are_refused(tmp_path: Path) -> None:
    answer = await decide(tmp_path, Given(seeds=("a:1",)), Network())
    assert isinstance(answer, Refuse)
    assert "--seed a:1" in answer.message
    assert load_cluster_key(tmp_path) is None


async def test_a_directory_of_another_mesh_is_refused(tmp_path: Path) -> None:
    other = new_cluster_key()
    store_cluster_key(tmp_path, other)
    answer = await decide(tmp_path, Given(join=TOKEN), Network())
    assert isinstance(answer, Refuse)
    assert other.mesh_id in answer.message
    assert KEY.mesh_id in answer.message
    assert load_cluster_key(tmp_path) == other


async def test_what_cannot_be_read_is_an_error_and_founds_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadToken):
        await decide(tmp_path, Given(join="cm1-oops"), Network())
    with pytest.raises(BadKey, match="absent"):
        await decide(tmp_path, Given(key_file=tmp_path / "absent"), Network())
    assert load_cluster_key(tmp_path) is None


async def test_an_empty_token_founds_nothing(tmp_path: Path) -> None:
    """It is what `--join "$TOKEN"` gives where the variable is not set."""
    with pytest.raises(BadToken, match="begins with"):
        await decide(tmp_path, Given(join="", mdns=False), Network())
    assert load_cluster_key(tmp_path) is None


async def test_a_one_time_token_is_redeemed_once_and_then_ignored(tmp_path: Path) -> None:
    """The same command line starts the node again, long after its token was used."""
    entered: list[OneTimeToken] = []

    async def enter(token: OneTimeToken) -> ClusterKey:
        entered.append(token)
        store_cluster_key(tmp_path, KEY)
        return KEY

    once = OneTimeToken(("192.0.2.1:8703",), b"s" * 16, KEY.join_server.public, KEY.mesh_id)
    for _ in range(2):
        start = await decide(tmp_path, Given(join=once.text()), Network(), enter)
        assert start == Start(KEY, addresses=once.addresses)
    assert entered == [once]
    foreign = OneTimeToken(once.addresses, once.secret, once.server_key, new_cluster_key().mesh_id)
    assert isinstance(await decide(tmp_path, Given(join=foreign.text()), Network(), enter), Refuse)


async def test_of_two_keys_of_one_mesh_the_later_counts(tmp_path: Path) -> None:
    later = KEY.rotated()
    store_cluster_key(tmp_path, later)
    assert await decide(tmp_path, Given(join=TOKEN), Network()) == Start(later, addresses=("192.0.2.1:8703",))
    file = tmp_path / "given.key"
    file.write_text(later.rotated().text())
    start = await decide(tmp_path, Given(key_file=file), Network())
    assert isinstance(start, Start)
    assert start.cluster.generation == 2
    assert load_cluster_key(tmp_path) == start.cluster
