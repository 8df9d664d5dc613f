"""JSON text from outside: whatever the bytes are, a value or one kind of error."""

from typing import Any

import msgspec

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding of hostile bytes raises; text is checked lazily, so bad UTF-8 comes as its own error."""


def parse_json(text: bytes) -> Any:
    """The JSON value. Raises ValueError with the reason."""
    try:
        return msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    except RecursionError:
        reason = "nested too deeply"
    except msgspec.DecodeError as error:
        reason = str(error)
    raise ValueError(f"not JSON: {reason}") from None
