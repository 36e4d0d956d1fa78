"""Sessions in signed cookies of the clients (itsdangerous, extra `sessions`)."""

from __future__ import annotations

import copy
import json
import logging
import re
import time
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from trio_ws.app.frozen import READ_ONLY, frozen
from trio_ws.connection.serialization import from_json, to_json
from trio_ws.errors import LocalProtocolError
from trio_ws.headers import is_token
from trio_ws.options import check_text, flag, integer, list_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_ws.connection.encoders import ToJSON
    from trio_ws.http.request import Request

__all__ = ["Session", "Sessions", "check_sessions"]

logger: Final = logging.getLogger("trio_ws")

TWO_WEEKS = 14 * 24 * 60 * 60
MAX_COOKIE_BYTES = 4096
"""The limit of browsers for a cookie's name and value (RFC 6265 6.1)."""
MIN_KEY_BYTES: Final = 4
"""Anything shorter is a slip."""
SHORT_KEY_BYTES: Final = 16
"""Shorter keys are logged with WARNING, since they suffice for tests only."""
MAX_SKEW: Final = 60
"""Seconds by which the clock of another process, which has signed a cookie, may be ahead."""
_PATH: Final = re.compile(r"/[\x21-\x3a\x3c-\x7e]*")
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

Key: TypeAlias = str | bytes


class Session(MutableMapping[str, Any]):
    """The session of one client, a dictionary until the handshake is answered."""

    __slots__ = ("_before", "_data", "_frozen", "stale")

    def __init__(self, data: dict[str, Any], *, stale: bool = False) -> None:
        self._data = data
        self._before = copy.deepcopy(data)
        self._frozen = False
        self.stale: bool = stale
        """Whether its cookie has to be set anew though nothing has changed: it is old, or signed with an old key."""

    @property
    def changed(self) -> bool:
        """True if a value at any depth has changed; True is not 1."""
        return _differ(self._data, self._before)

    def freeze(self) -> None:
        """Refuse later changes at any depth, since the cookie is sent now."""
        if not self._frozen:
            self._frozen = True
            self._before, self._data = self._data, frozen(self._data)

    def check_unchanged(self) -> None:
        """Raise `LocalProtocolError` if a value has changed since the answer."""
        if self._frozen and self.changed:
            names = [repr(key) for key, value in self._data.items() if _differ(value, self._before[key])]
            raise LocalProtocolError(f"a change at {', '.join(names)} is lost: {READ_ONLY}")

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._check_open()
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        self._check_open()
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __copy__(self) -> dict[str, Any]:
        return dict(self._data)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return copy.deepcopy(dict(self._data), memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self._data),)

    def __repr__(self) -> str:
        return f"<Session with {sorted(self._data)}>"

    def _check_open(self) -> None:
        if self._frozen:
            raise LocalProtocolError(READ_ONLY)


def _differ(one: Any, other: Any) -> bool:
    """Return True if two values differ as JSON, where True is not 1."""
    try:
        return one != other or json.dumps(one, default=repr) != json.dumps(other, default=repr)
    except TypeError:  # a key that is no text
        return repr(one) != repr(other)


def _keys(value: Any) -> tuple[Key, ...]:
    if isinstance(value, str | bytes):
        return (value,)
    try:
        return tuple(list_of("secret_key", value, "keys"))
    except TypeError:  # its message would hold the secret
        raise TypeError(
            f"secret_key takes a list of keys or one key, not an object of {type(value).__name__}"
        ) from None


def _check_keys(_: object, __: object, keys: tuple[Key, ...]) -> None:
    if not keys or not all(keys):
        raise ValueError("sessions need a secret_key: secrets.token_urlsafe(32) makes one")
    for key in keys:
        if not isinstance(key, str | bytes):
            raise TypeError(f"secret_key takes text, bytes, or a list of these, and one is of {type(key).__name__}")
        size = len(key.encode() if isinstance(key, str) else key)
        if size < MIN_KEY_BYTES:
            raise ValueError(f"a secret_key of {size} bytes is no secret: secrets.token_urlsafe(32) makes one")
        if size < SHORT_KEY_BYTES:
            logger.warning("the secret_key of sessions has %d bytes, which may be guessed: take 32", size)


def _check_cookie(_: object, __: object, name: str) -> None:
    check_text("cookie", name)
    if not is_token(name):
        raise ValueError(f"cookie is the name of a cookie, a token (RFC 6265 4.1.1), not {name!r}")


def _check_path(_: object, __: object, path: str) -> None:
    check_text("path", path)
    if not _PATH.fullmatch(path):
        raise ValueError(f"path is the path that the cookie is for, such as '/', not {path!r}")


def _check_domain(_: object, __: object, domain: str | None) -> None:
    if domain is not None:
        check_text("domain", domain)
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"domain is a name such as 'example.org', without scheme and port, not {domain!r}")


@attrs.frozen(kw_only=True)
class Sessions:
    """How sessions are kept.

    Raises:
        ValueError: the secret is empty, or no browser would keep such a cookie.
        ImportError: itsdangerous is not installed.
    """

    secret_key: Key | Sequence[Key] = attrs.field(repr=False, converter=_keys, validator=_check_keys)
    """Signs the cookie: at least 32 random bytes, the same in every process. A list of keys for rotation, the newest
    first: that one signs, and the cookies of all are taken."""
    cookie: str = attrs.field(default="session", validator=_check_cookie)
    """The cookie's name."""
    max_age: int = attrs.field(default=TWO_WEEKS, validator=integer(1))
    """Seconds after which a session is forgotten."""
    path: str = attrs.field(default="/", validator=_check_path)
    """The path below which browsers send the cookie."""
    domain: str | None = attrs.field(default=None, validator=_check_domain)
    """The name whose subdomains get the cookie too; None for the host alone that set it."""
    same_site: Literal["lax", "strict", "none"] = "lax"
    """Whether browsers send the cookie with requests of other sites."""
    https_only: bool = attrs.field(default=False, validator=flag)
    """Whether browsers send the cookie over TLS only."""
    sliding: bool = attrs.field(default=False, validator=flag)
    """Count `max_age` from the last connection, not from the last change: a cookie that has lived a tenth of it is set
    anew by the next answer."""

    def __attrs_post_init__(self) -> None:
        if self.same_site not in ("lax", "strict", "none"):
            raise ValueError(f'same_site is "lax", "strict" or "none", not {self.same_site!r}')
        if self.same_site == "none" and not self.https_only:
            raise ValueError('same_site="none" goes with https_only=True: browsers refuse such a cookie otherwise')
        if self.cookie.startswith(("__Secure-", "__Host-")) and not self.https_only:
            raise ValueError(f"browsers refuse the cookie {self.cookie} without https_only=True")
        if self.cookie.startswith("__Host-") and (self.path != "/" or self.domain is not None):
            raise ValueError(f'browsers refuse the cookie {self.cookie} unless path is "/" and there is no domain')
        self._signer()

    def load(self, request: Request) -> Session:
        """Return the session of a request, empty if there is none.

        A forged or expired session counts as none.
        """
        from itsdangerous import BadData  # noqa: PLC0415 - an extra

        cookie = request.cookies.get(self.cookie)
        if cookie is None:
            return Session({})
        signer = self._signer()
        try:
            data, signed = signer.loads(cookie, return_timestamp=True)
        except BadData:
            return Session({})
        age = time.time() - signed.timestamp()
        if not isinstance(data, dict) or not -MAX_SKEW <= age <= self.max_age:
            return Session({})
        return Session(data, stale=self._is_stale(cookie, signed.timestamp()))

    def _is_stale(self, cookie: str, signed: float) -> bool:
        aged = self.sliding and time.time() - signed >= self.max_age / 10
        return aged or not self._signer(newest_only=True).loads_unsafe(cookie)[0]

    def header(self, session: Session, encode: ToJSON = to_json) -> list[tuple[str, str]]:
        """Return the headers with a changed session's cookie, and freeze the session.

        Args:
            session: of the client.
            encode: the application's encoder of JSON.

        Raises:
            TypeError: the session holds something that is not JSON.
            ValueError: it has become too large for a cookie.
        """
        value = self._signer(encode).dumps(dict(session)) if session.changed or session.stale else None
        session.freeze()
        if value is None:
            return []
        if len(self.cookie) + len(value) > MAX_COOKIE_BYTES:
            raise ValueError(f"the session takes {len(value)} bytes, a cookie holds at most {MAX_COOKIE_BYTES}")
        parts = [
            f"{self.cookie}={value}",
            f"Path={self.path}",
            f"Max-Age={self.max_age}",
            "HttpOnly",
            f"SameSite={self.same_site.capitalize()}",
        ]
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if self.https_only:
            parts.append("Secure")
        return [("Set-Cookie", "; ".join(parts))]

    def _signer(self, encode: ToJSON = to_json, *, newest_only: bool = False) -> Any:
        try:
            from itsdangerous import URLSafeTimedSerializer  # noqa: PLC0415 - an extra
        except ImportError:
            raise ImportError("sessions need itsdangerous: pip install trio-ws[sessions]") from None
        keys: Any = self.secret_key[:1] if newest_only else self.secret_key[::-1]  # the last of a list signs
        return URLSafeTimedSerializer(keys, salt="trio_ws.session", serializer=_Serializer(encode))


class _Serializer:
    """JSON for itsdangerous, by the rules of messages."""

    def __init__(self, encode: ToJSON) -> None:
        self._encode = encode

    def dumps(self, value: Any) -> str:
        return self._encode(value, wrapped=1)

    def loads(self, payload: str | bytes) -> Any:
        return from_json(payload, wrapped=1)


def check_sessions(value: Any) -> Sessions | None:
    """Return the checked value of `sessions=`.

    Raises:
        TypeError: it is no `Sessions`.
    """
    if value is not None and not isinstance(value, Sessions):
        hint = "secret_key=..." if isinstance(value, str | bytes) else "..."  # the message must not hold the secret
        raise TypeError(f"sessions takes Sessions({hint}), not an object of {type(value).__name__}")
    return value
