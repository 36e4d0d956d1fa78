"""An endpoint by which other programs publish to rooms, with one POST a message."""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trio_ws.app.publish_keys import Claim, InvalidProof, KeyRing, PublishKey
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.connection.serialization import from_json, to_json
from trio_ws.errors import BackplaneError, InvalidMessage, MessageTooLarge
from trio_ws.handler.service import Response
from trio_ws.options import check_number
from trio_ws.rooms.checks import check_seconds
from trio_ws.rooms.topics import check_member, check_name, checked_key, topic_of

if TYPE_CHECKING:
    from trio_ws.app.services import AppServices
    from trio_ws.connection.encoders import ToJSON
    from trio_ws.http.request import Request

__all__ = ["PublishEndpoint", "parse_keys"]

logger: Final = logging.getLogger("trio_ws")

_JSON: Final = ("Content-Type", "application/json")
_FIELDS: Final = frozenset({"room", "message", "binary", "key", "exclude"})
_MOST_EXCLUDED: Final = 1000
_SHARE: Final = 0.7
"""Of `open_timeout`, which the server gives for the whole answer."""


class _Invalid(Exception):  # noqa: N818 - a request, not an error of ours
    """The error of a body with a status of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen
class _Publication:
    """A message that is to be published."""

    room: str
    message: PreparedMessage
    key: str
    exclude: frozenset[str]


def parse_keys(given: Iterable[PublishKey | str]) -> list[PublishKey]:
    """Return the checked `keys=` of an endpoint.

    Raises:
        TypeError: it is no list of keys and secrets.
        ValueError: a secret is too short, or not of its kind.
    """
    if isinstance(given, str | bytes | PublishKey) or not isinstance(given, Iterable):
        raise TypeError("keys takes a list: keys=[...]")
    return [key if isinstance(key, PublishKey) else PublishKey(key) for key in given]


class PublishEndpoint:
    """Publishes the messages of requests that have a key.

    Args:
        services: of the application, whose backplane and encoder it uses.
        keys: allow to publish.
        max_body: bytes of one request, at most.
        tolerance: seconds that the time of a signed request may be off.

    Raises:
        TypeError: an option has another type.
        ValueError: an option is out of range, or there is no key.
    """

    def __init__(
        self, services: AppServices, keys: Iterable[PublishKey | str], max_body: int, tolerance: float
    ) -> None:
        check_number("max_body", max_body, 1)
        check_seconds("tolerance", tolerance)
        self._services = services
        self._keys = KeyRing(parse_keys(keys), tolerance)
        self.max_body: int = max_body

    def refusal(self, request: Request) -> Response | None:
        """Refuse a request without a key, or with another type, by its headers alone."""
        try:
            self._keys.claim(request.headers)
        except InvalidProof as error:
            return _unauthorized(request, error)
        kind, _, parameters = (request.headers.get("content-type") or "").partition(";")
        charset = parameters.strip().lower().replace('"', "")
        if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
            return _refused(415, "the body is JSON: give Content-Type: application/json")
        if (request.headers.get("content-encoding") or "identity").lower() != "identity":
            return _refused(415, "the body is not compressed: leave Content-Encoding out")
        return None

    async def answer(self, request: Request, body: bytes) -> Response:
        """Publish a message, and return its id."""
        try:
            claim = self._keys.claim(request.headers)
            key = self._keys.verify(claim, body)
            publication = _parse(body, claim, key, self._services.settings.json)
        except InvalidProof as error:
            return _unauthorized(request, error)
        except _Invalid as error:
            return _refused(error.status, str(error))
        return await self._publish(publication)

    async def _publish(self, publication: _Publication) -> Response:
        keyed: dict[str, Any] = {"key": publication.key} if publication.key else {}
        topic, backplane = topic_of(publication.room), self._services.rooms.backplane
        try:
            with trio.move_on_after(_SHARE * self._services.settings.timeouts.open_timeout):
                identifier = await backplane.publish(topic, publication.message, publication.exclude, **keyed)
                return _response(200, {"id": identifier})
        except MessageTooLarge as error:
            return _refused(413, str(error))
        except BackplaneError as error:
            logger.warning("a message of the publish endpoint is not published: %s", error)
            return _unavailable(uncertain=error.local or getattr(error, "uncertain", False))
        return _unavailable(uncertain=True)


def _parse(body: bytes, claim: Claim, key: PublishKey, encode: ToJSON) -> _Publication:
    """Return the message in a body.

    Raises:
        _Invalid: there is none that the key may publish.
    """
    try:
        found = from_json(body.decode())
    except (InvalidMessage, UnicodeDecodeError):
        raise _Invalid(400, "the body is no JSON") from None
    if not isinstance(found, dict) or not found.keys() <= _FIELDS:
        raise _Invalid(422, f"the body is an object with some of {', '.join(sorted(_FIELDS))}")
    try:
        check_name(found.get("room"))
        message, excluded = _message(found, encode), _excluded(found.get("exclude", []))
        named = checked_key(found["key"]) if "key" in found else _own_key(claim, key)
    except (TypeError, ValueError) as error:
        raise _Invalid(422, str(error)) from None
    if not key.allows(found["room"]):
        raise _Invalid(403, "the key is not for this room")
    return _Publication(found["room"], message, named, excluded)


def _own_key(claim: Claim, key: PublishKey) -> str:
    """Return the name of a signed message, by which a request that is sent again publishes nothing."""
    return f"webhook {key.fingerprint} {claim.identifier}" if claim.identifier else ""


def _message(found: Mapping[str, Any], encode: ToJSON) -> PreparedMessage:
    if ("message" in found) == ("binary" in found):
        raise ValueError("give either message or binary")
    if "message" in found:
        return PreparedMessage(found["message"], encode)
    if not isinstance(found["binary"], str):
        raise TypeError("binary is text in Base64")
    try:
        return PreparedMessage(b64decode(found["binary"], validate=True))
    except ValueError:
        raise ValueError("binary is no Base64") from None


def _excluded(given: object) -> frozenset[str]:
    if not isinstance(given, list) or len(given) > _MOST_EXCLUDED:
        raise TypeError(f"exclude is a list of at most {_MOST_EXCLUDED} ids of members")
    for member in given:
        check_member(member)
    return frozenset(given)


# --- answers ----------------------------------------------------------------------------------------------------------


def _response(status: int, content: object, *headers: tuple[str, str]) -> Response:
    return Response(
        status=status, headers=(_JSON, ("Cache-Control", "no-store"), *headers), body=to_json(content).encode()
    )


def _refused(status: int, message: str, *headers: tuple[str, str]) -> Response:
    return _response(status, {"error": message}, *headers)


def _unavailable(*, uncertain: bool) -> Response:
    answer = {"error": "the message cannot be published now", "uncertain": uncertain}
    return _response(503, answer, ("Retry-After", "1"))


def _unauthorized(request: Request, error: InvalidProof) -> Response:
    logger.info("%s may not publish: %s", request.client, error)
    return _refused(401, str(error), ("WWW-Authenticate", "Bearer"))
