"""What of an address or a text may be shown: no password, no token."""

import re
from typing import Final, TypeVar

Error = TypeVar("Error", bound=BaseException)

_USER: Final = re.compile(r"(?<=://)(?:[^\s/@:]*:[^\s@]*@(?:[^\s/@]*@)*|(?:[^\s/@]*@)+)")
"""User and password, also where a password holds what should have been escaped."""
_PASSWORD: Final = re.compile(r"(?<=://)[^\s/@:]*:[^\s@]*@|(?<=http://)[^\s/@]*@|(?<=https://)[^\s/@]*@")
_QUERY: Final = re.compile(
    r"(?<=[?&])((?:password|passwd|pwd|token|sig|secret|key|access_key|secret_key|api_key)=)[^&\s]+", re.IGNORECASE
)


def without_credentials(text: str) -> str:
    """An address, or a text with addresses in it, as it may be shown."""
    return _QUERY.sub(r"\1***", _USER.sub("", text))


def holds_secret(address: str) -> bool:
    """Whether an address holds a password or a token. A bare user may be part of the place, as in `abfs://`."""
    return bool(_PASSWORD.search(address) or _QUERY.search(address))


def untelling(error: Error) -> Error:
    """The same error, and all that led to it, with no credentials in its words: traces are logged, and shown."""
    seen: BaseException | None = error
    while seen is not None:
        seen.args = tuple(without_credentials(one) if isinstance(one, str) else one for one in seen.args)
        if isinstance(seen, OSError) and isinstance(seen.filename, str):
            seen.filename = without_credentials(seen.filename)
        seen = seen.__cause__ or seen.__context__
    return error
