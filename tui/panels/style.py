"""Which colour a state has, and how a share is drawn as a bar."""

from rich.text import Text

COLOURS = {
    "alive": "green",
    "suspect": "yellow",
    "dead": "red",
    "left": "bright_black",
    "running": "cyan",
    "leased": "cyan",
    "succeeded": "green",
    "partial": "yellow",
    "paused": "magenta",
    "failed": "red",
    "cancelled": "bright_black",
}


def state(word: str) -> Text:
    return Text(word, style=COLOURS.get(word, ""))


def plain(text: str) -> Text:
    """Text from elsewhere: no markup, and no control characters that the terminal would obey."""
    return Text("".join(c if c.isprintable() else "·" for c in text))


def bar(share: float | None, width: int = 16) -> Text:
    """A bar of `width` cells with the percentage; empty for None."""
    if share is None:
        return Text("-", style="bright_black")
    full = round(max(0.0, min(1.0, share)) * width)
    return Text.assemble(("━" * full, "green"), ("━" * (width - full), "bright_black"), f" {share:4.0%}")
