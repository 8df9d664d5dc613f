"""What the words of time, size and rate mean: "250ms" "1h30m", "64MiB", "50/s" "600/m".

Every function raises ValueError with a sentence that says what was given and what is allowed.
"""

import math
import re

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
PER = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

DURATION_FORM = 'a duration such as "250ms", "5s", "10m", "2h", "1d" (or a number of seconds)'
SIZE_FORM = 'a size such as "64MiB", "500kB" (or a number of bytes)'
RATE_FORM = 'a rate such as "50/s", "600/m" (or a number per second)'

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*([a-z]+)", re.ASCII)


def duration(value: str | float) -> float:
    """Seconds of a duration; parts add up ("1h30m"). Numbers are seconds already. Never negative."""
    if not isinstance(value, str):
        return _number(value, DURATION_FORM)
    text = value.strip()
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{value!r} is not {DURATION_FORM}")
    return _number(sum(float(number) * SECONDS[unit] for number, unit in _PART.findall(text)), DURATION_FORM)


def size(value: str | float) -> int:
    """Bytes of a size; kB is 1000, KiB is 1024. Numbers are bytes already."""
    if not isinstance(value, str):
        return int(_number(value, SIZE_FORM))
    match = _SIZE.fullmatch(value.strip().lower())
    if match is None or match[2] not in BYTES:
        raise ValueError(f"{value!r} is not {SIZE_FORM}")
    return int(_number(float(match[1]) * BYTES[match[2]], SIZE_FORM))


def rate(value: str | float) -> float:
    """Units per second of a rate. Numbers are per second already. Above zero."""
    if isinstance(value, str):
        match = _RATE.fullmatch(value.strip().lower())
        if match is None or match[2] not in PER:
            raise ValueError(f"{value!r} is not {RATE_FORM}")
        value = float(match[1]) / PER[match[2]]
    if _number(value, RATE_FORM) == 0:
        raise ValueError("a rate must be above zero; to stop a task, pause it")
    return float(value)


def _number(value: float, form: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except OverflowError:  # a whole number beyond what a float can be
        number = math.inf
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value!r} is not {form}")
    return number
