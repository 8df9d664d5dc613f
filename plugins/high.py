"""The highest value of a field, batch by batch: what the cursor of an incremental run becomes.

In a column of texts some look like numbers: of a hundred thousand ids of 24 hexadecimal digits one or two
(`123...9e4`). Were such a one the cursor, all that come later and are text would be "of another kind" and never be
read. So where the cursor of before is text, or texts are many and more than the other values of a first run, all
texts count as texts. The highest, if it looks like something else, is spelled `{"text": "123"}`.

What was found may so be a number first and text later, or the other way round: what is told later is nearer the truth.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from plugins.ordering import STRING, highest, is_mark, parse, plain

_PLAIN = (str, int, float)
MANY = 16
"""Texts; fewer in a column of numbers may be marks of what is missing ("NA", "n/a", "unknown")."""


class High(NamedTuple):
    """`best`: in the order of all values; `text`: of all texts. `texts`, `others`: how many values are text, and how
    many are or look like numbers or instants, each counted once a batch.
    """

    best: Any = None
    text: str = ""
    texts: int = 0
    others: int = 0

    def over(self, values: Iterable[Any]) -> "High":
        """That of these values too. Values that are in no domain count for nothing."""
        best, text, texts, others = self
        top = parse(best)
        for value in dict.fromkeys(value for value in values if type(value) in _PLAIN):
            key = parse(value)
            if key is None:
                continue
            if isinstance(value, str):
                text = max(text, value)
            texts, others = (texts + 1, others) if key[0] == STRING else (texts, others + 1)
            if top is None or key > top:
                best, top = value, key
        return High(best, text, texts, others)

    def joined(self, told: Any) -> "High":
        """That of what somebody else has found too, as `value` told it."""
        theirs = begun(told)
        return High(
            highest(self.best, theirs.best), max(self.text, theirs.text),
            max(self.texts, theirs.texts), max(self.others, theirs.others),
        )  # fmt: skip

    def value(self, *, text: bool) -> Any:
        """What the cursor may become. `text`: the cursor of before says that the column is one of texts."""
        if not self.text or not (text or (self.texts >= MANY and self.texts > self.others)):
            return self.best
        return self.text if is_text(self.text) else {"text": self.text}


def begun(high: Any) -> High:
    """What was found before, as `High.value` told it. How many it was found among is not told: it counts for many, so
    that a few values of another kind in what is left do not outvote it.
    """
    if is_text(high):
        return High(high, plain(high), texts=MANY if of_texts(high) else 0)
    return High() if parse(high) is None else High(high, others=MANY)


def later(known: Any, told: Any) -> Any:
    """What is known of a shard when its executor tells of it again: the higher; if they are of two kinds, the later."""
    was, now = parse(known), parse(told)
    other = was is not None and now is not None and was[0] != now[0]
    return told if other and (of_texts(told) or not is_text(told)) else highest(known, told)


def cursor_after(before: Any, highs: Iterable[Any]) -> Any:
    """The cursor after a run. `before`: the one of before it; `highs`: what the shards have told."""
    found = [high for high in highs if parse(high) is not None]
    best = before
    for high in found:
        best = highest(best, high)
    texts = sum(map(of_texts, found))
    if is_text(best) or not (of_texts(before) or (texts >= MANY and 2 * texts > len(found))):
        return best
    said = (plain(high) for high in (before, *found))
    top = max(text for text in said if isinstance(text, str) and not is_mark(text))
    return top if is_text(top) else {"text": top}


def of_texts(cursor: Any) -> bool:
    """Whether a cursor says that its column is one of texts: it is text, and no mark of what is missing."""
    return is_text(cursor) and not is_mark(plain(cursor))


def is_text(value: Any) -> bool:
    """Whether a value, or a cursor, is text that looks like nothing else, or is said to be text."""
    key = parse(value)
    return key is not None and key[0] == STRING
