"""What can go wrong in gossip, named by who must act."""


class GossipError(Exception):
    """Base of this folder's errors. No state has changed when one is raised."""


class MetaTooLarge(GossipError):
    """The operator must shorten a field of this node's own meta."""


class BadConfig(GossipError, ValueError):
    """The operator must correct a timing value."""


class Malformed(GossipError):
    """A peer sent bytes or claims that no correct node sends; they are counted and dropped."""
