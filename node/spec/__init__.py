"""The task's specification: from what a user writes to the bytes that the mesh stores, or to all its errors.

`raw` is the shape, `fields` finds every error of shape, `rules` and `plugged` hold what shape cannot say,
`checker` puts them together. Imports plugins, node.schema, node.service.
"""

from node.spec.checker import Checked, SpecChecker
from node.spec.problems import InvalidSpec

__all__ = ["Checked", "InvalidSpec", "SpecChecker"]
