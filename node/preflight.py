"""What a start would refuse of the files and folders that the configuration names; nothing is changed.

It opens no port and no mesh: the node that has them may be running.
"""

from collections.abc import Callable
from pathlib import Path

from node.api.access import ExposureError, read_token
from node.api.tls import TlsError, load_tls
from node.config import Config
from node.data_directory import CannotStart, require_usable
from node.security.bootstrap import two_meshes
from node.security.keys import BadKey, read_cluster_key
from node.security.token import BadToken, parse_token

REFUSALS = (CannotStart, ExposureError, TlsError, BadKey, BadToken)


def obstacles(config: Config, join: str | None) -> list[str]:
    """Each says what is wrong and what to do; `join`: the token of `--join`."""
    http = config.http
    looks: list[Callable[[], object]] = [
        lambda: require_usable(config.node.data_dir),
        lambda: http.token_file and read_token(http.token_file),
        lambda: http.tls_cert and http.tls_key and load_tls(http.tls_cert, http.tls_key),
        lambda: _require_one_mesh(join, config.mesh.key_file),
    ]
    found = []
    for look in looks:
        try:
            look()
        except REFUSALS as error:
            found.append(str(error))
    return found


def _require_one_mesh(join: str | None, key_file: Path | None) -> None:
    """Raises BadKey, BadToken, and CannotStart where both are sound, but of two meshes."""
    filed = read_cluster_key(key_file) if key_file else None
    token = parse_token(join) if join is not None else None
    if filed and token and filed.mesh_id != token.mesh_id:
        raise CannotStart(two_meshes(token.mesh_id, filed.mesh_id))
