"""Keys of programs that publish by HTTP, and the proof that a request has one.

A signed request is one of Standard Webhooks (https://www.standardwebhooks.com), for which there are libraries in many
languages: `webhook-id`, `webhook-timestamp`, and in `webhook-signature` an HMAC of both and of the body.
"""

from __future__ import annotations

import hmac
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs

from trio_ws.rooms.patterns import Pattern, RoomDefaults
from trio_ws.rooms.topics import check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_ws.headers import Headers

__all__ = ["Claim", "InvalidProof", "KeyRing", "PublishKey"]

_SIGNING: Final = "whsec_"
"""The beginning of a secret for signatures, by the specification."""
_BEARER: Final = re.compile(r"[\x21-\x7e]{16,512}")
_ID: Final = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}")
"""Without the dot, which stands between the parts that are signed."""
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_MOST_SIGNATURES: Final = 16


class InvalidProof(Exception):  # noqa: N818 - the name of status 401
    """The error of a request without proof of a key; its text may be sent to the client."""


def _checked_secret(_: object, __: object, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"the secret of a key is text, not {type(value).__name__}")
    if value.startswith(_SIGNING):
        _signing_bytes(value)
    elif not _BEARER.fullmatch(value):
        raise ValueError("the secret of a key has from 16 to 512 characters of ASCII, without spaces")


def _signing_bytes(secret: str) -> bytes:
    try:
        found = b64decode(secret.removeprefix(_SIGNING), validate=True)
    except ValueError:
        found = b""
    if not 24 <= len(found) <= 64:
        raise ValueError(f"the secret of a signature is {_SIGNING} and from 24 to 64 bytes in Base64")
    return found


def _patterns(given: str | Iterable[str]) -> tuple[str, ...]:
    patterns = (given,) if isinstance(given, str) else tuple(given)
    for pattern in patterns:
        check_name(pattern)
    if not patterns:
        raise ValueError("a key without rooms would be of no use: name rooms or patterns")
    return patterns


@attrs.frozen
class PublishKey:
    """A key of a program that publishes by HTTP, for `App.publish_endpoint`.

    Args:
        secret: with `whsec_` and Base64, it signs requests by Standard Webhooks, and is never sent; anything else is
            sent as `Authorization: Bearer SECRET`. No key can be used in both ways.
        rooms: names of rooms that it may publish to, or patterns with `*` for any text.

    Raises:
        TypeError: an argument has another type.
        ValueError: the secret is too short, or not of its kind; or no room can have such a name.

    Example:
        app.publish_endpoint("/publish", keys=[PublishKey(os.environ["PUBLISH_KEY"], rooms="board:*")])
    """

    secret: str = attrs.field(repr=False, validator=_checked_secret)
    rooms: tuple[str, ...] = attrs.field(default=("*",), converter=_patterns)

    @property
    def signs(self) -> bool:
        """Whether it signs requests."""
        return self.secret.startswith(_SIGNING)

    def allows(self, room: str) -> bool:
        """Return True if the key may publish to a room."""
        return any(Pattern(pattern, RoomDefaults()).matches(room) for pattern in self.rooms)

    @property
    def fingerprint(self) -> str:
        """Names the key, and does not reveal its secret."""
        return sha256(self.secret.encode()).hexdigest()[:16]

    def signature(self, signed: bytes) -> bytes:
        """Return the signature of a request's id, time and body."""
        return b64encode(hmac.digest(_signing_bytes(self.secret), signed, sha256))


@attrs.frozen
class Claim:
    """The proof of a key in a request's headers, which may yet have to match the body."""

    key: PublishKey | None
    """The key of a bearer; None for a signature."""
    identifier: str = ""
    """Names a signed message: a repeated request has it again."""
    timestamp: str = ""
    signatures: tuple[bytes, ...] = ()


class KeyRing:
    """The keys of one endpoint.

    Args:
        keys: at least one.
        tolerance: seconds that the time of a signed request may differ from that of this machine.

    Raises:
        TypeError: something else is given.
        ValueError: there is no key, or two have one secret.
    """

    def __init__(self, keys: Sequence[PublishKey], tolerance: float) -> None:
        if not keys:
            raise ValueError("an endpoint without keys would be of no use: give one")
        if len({key.secret for key in keys}) < len(keys):
            raise ValueError("two keys have one secret")
        self._bearers = [(key, sha256(key.secret.encode()).digest()) for key in keys if not key.signs]
        self._signing = [key for key in keys if key.signs]
        self._tolerance = tolerance

    def claim(self, headers: Headers) -> Claim:
        """Return the proof in a request's headers.

        Raises:
            InvalidProof: there is none, or it is wrong already.
        """
        given = headers.get_list("authorization")
        if given:
            return Claim(self._bearer(given))
        if not self._signing:
            raise InvalidProof("give Authorization: Bearer")
        values = [headers.get_list(f"webhook-{name}") for name in ("id", "timestamp", "signature")]
        if any(len(each) != 1 for each in values):
            raise InvalidProof("give Authorization: Bearer, or sign the request by Standard Webhooks")
        identifier, timestamp, signatures = (each[0] for each in values)
        if not _ID.fullmatch(identifier) or not _TIMESTAMP.fullmatch(timestamp):
            raise InvalidProof("webhook-id is text without a dot, webhook-timestamp a number of seconds")
        if abs(int(timestamp) - time.time()) > self._tolerance:
            raise InvalidProof(f"webhook-timestamp is more than {self._tolerance:g} seconds off")
        found = tuple(each[3:].encode() for each in signatures.split(" ", _MOST_SIGNATURES) if each.startswith("v1,"))
        return Claim(None, identifier, timestamp, found[:_MOST_SIGNATURES])

    def _bearer(self, given: Sequence[str]) -> PublishKey:
        scheme, _, token = given[0].partition(" ")
        digest = sha256(token.strip().encode("utf-8", "replace")).digest()
        # All are compared, and digests have one length: the time depends on nothing that is secret.
        found = [key for key, known in self._bearers if hmac.compare_digest(known, digest)]
        if len(given) > 1 or scheme.lower() != "bearer" or not found:
            raise InvalidProof("the key is not known")
        return found[0]

    def verify(self, claim: Claim, body: bytes) -> PublishKey:
        """Return the key of a request with its body.

        Raises:
            InvalidProof: no key has made the signature.
        """
        if claim.key is not None:
            return claim.key
        signed = f"{claim.identifier}.{claim.timestamp}.".encode() + body
        made = [(key, key.signature(signed)) for key in self._signing]
        matching = [key for key, own in made for each in claim.signatures if hmac.compare_digest(own, each)]
        if not matching:
            raise InvalidProof("the signature is wrong")
        return matching[0]
