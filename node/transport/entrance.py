"""The way into a mesh by a one-time token, before anything else of the node runs."""

from pathlib import Path

import zmq

from node.security.keys import ClusterKey, load_keys, store_cluster_key
from node.security.roster import ROSTER_FILE, Entry, Roster
from node.security.token import OneTimeToken
from node.transport.base import SyncContext
from node.transport.introduce import redeem


async def enter(data_dir: Path, name: str, token: OneTimeToken) -> ClusterKey:
    """Join with this directory's node key; the mesh's key and roster are in the directory on return.

    Raises JoinFailed, then a further try, with this token or another, is possible. The token stays good for
    this node key while it has not expired, so a crash in the middle costs nothing.
    """
    keys = load_keys(data_dir)
    context: SyncContext = zmq.Context()
    try:
        me = Entry(public_key=keys.pair.public, name=name)
        answer, cluster = await redeem(context, token, pair=keys.pair, me=me)
    finally:
        context.destroy(linger=0)
    roster = Roster.load(data_dir / ROSTER_FILE)
    roster.join(answer.roster)
    roster.save()
    store_cluster_key(data_dir, cluster)
    return cluster
