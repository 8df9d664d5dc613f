"""What can go wrong in gossip, named by who must act."""


class GossipError(Exception):
    """Base of this folder's errors. No state has changed when one is raised."""


class MetaTooLarge(GossipError):  # noqa: N818 -- says what is wrong
    """The operator must shorten a field of this node's own meta."""


class BadConfig(GossipError, ValueError):  # noqa: N818 -- as above
    """The operator must correct a timing value."""


class Malformed(GossipError):  # noqa: N818 -- as above
    """A peer sent bytes or claims that no correct node sends; they are counted and dropped."""
