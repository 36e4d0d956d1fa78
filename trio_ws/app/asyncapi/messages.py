"""The messages that a route receives and sends, by its annotations and options."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin

import attrs
from typing_extensions import TypedDict

from trio_ws.app.listener import Listener
from trio_ws.app.output import reply_type, status_replies
from trio_ws.app.parameters.annotations import is_union, unaliased
from trio_ws.app.replies import Reply
from trio_ws.connection.serialization import resolve_types
from trio_ws.runtime.threads import underlying

if TYPE_CHECKING:
    from trio_ws.app.route import Route

__all__ = ["Content", "MessageType", "received_by", "replies_of", "sent_by"]

Content: TypeAlias = Literal["json", "text", "binary", "any"]
"""What a message holds; "any": text or bytes, as it comes."""
Mode: TypeAlias = Literal["validation", "serialization"]

_CONTENT_OF: Final[dict[str | None, Content]] = {"json": "json", "text": "text", "bytes": "binary", None: "any"}
_NONE: Final = type(None)


class ErrorItem(TypedDict):
    """One error in a message."""

    loc: list[str | int]
    type: str
    msg: str


class ErrorList(TypedDict):
    """The errors in a message that does not validate."""

    errorList: list[ErrorItem]


@attrs.frozen(kw_only=True)
class MessageType:
    """A type of messages, in one direction.

    Args:
        annotation: of its value; Any for anything.
        content: of the frame.
        mode: "validation" for messages of clients, "serialization" for those to clients.
        status: of the envelope around the value; 0 for any status, None for no envelope.
        reference: a member of the request that is beside the value.
        description: for people.
    """

    annotation: Any
    content: Content = "json"
    mode: Mode = "serialization"
    status: int | None = None
    reference: str | None = None
    description: str = ""


def received_by(route: Route) -> Iterator[MessageType]:
    """Yield the messages that clients send."""
    target, options = route.target, route.options
    if isinstance(target, Listener):
        body = route.receive(target).body
        annotation = Any if body is None else body.annotation
        content = _CONTENT_OF[target.options.encoding]
        given = options.receives if options.receives is not None else annotation
        description = "" if body is None else body.description
        reference = target.options.reference
        yield from _types(given, content, "validation", description=description, reference=reference)
        return
    receive_type, _ = resolve_types(options.receive_type, options.send_type, options.value_type)
    yield from _given(options.receives, _CONTENT_OF[receive_type], "validation")


def sent_by(route: Route) -> Iterator[MessageType]:
    """Yield the messages that a route sends beside replies."""
    options = route.options
    _, send_type = resolve_types(options.receive_type, options.send_type, options.value_type)
    if options.sends is not None or not isinstance(route.target, Listener):
        yield from _given(options.sends, _CONTENT_OF[send_type], "serialization")


def replies_of(route: Route) -> Iterator[MessageType]:
    """Yield the replies of a listener."""
    target = route.target
    if not isinstance(target, Listener):
        return
    function, options = underlying(target.receive_callback), target.options
    content = _CONTENT_OF[options.encoding]
    annotation, statuses = _reply_annotation(function)
    kinds = [each for each in members_of(annotation) if each is not _NONE and not _is_reply(each)] or [Any]
    kept = {"content": content, "reference": options.reference}
    only_status = kinds == [Any] and statuses
    if not only_status:
        yield from (MessageType(annotation=kind, **_fitting(kind, kept)) for kind in kinds)
    for status in statuses:
        of_body = kinds if status in (0, *range(200, 300)) and not only_status else [Any]
        yield from (MessageType(annotation=kind, status=status, reference=options.reference) for kind in of_body)
    if options.explain is not None:
        yield from (
            MessageType(annotation=kind, reference=options.reference)
            for kind in members_of(_reply_annotation(underlying(options.on_invalid))[0])
            if kind is not _NONE
        )
    elif content == "json" and _is_validated(route, target):
        yield MessageType(
            annotation=ErrorList,
            status=400,
            reference=options.reference,
            description="The answer to a message that does not validate.",
        )


def _is_reply(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, Reply)


def _is_validated(route: Route, listener: Listener) -> bool:
    return route.receive(listener).body is not None or listener.options.encoding == "json"


def _fitting(kind: Any, kept: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a reply: models go out as JSON on every listener."""
    raw = {"text": (str, Any), "binary": (bytes, bytearray, memoryview, Any)}.get(kept["content"])
    return kept if raw is None or kind in raw else {**kept, "content": "json"}


def _reply_annotation(function: Any) -> tuple[Any, tuple[int, ...]]:
    """Return the type of a function's replies, and the statuses of those with one; 0 for any."""
    try:
        annotation, classes = reply_type(function), status_replies(function)
    except Exception:  # an annotation is code; at registration it was logged
        return Any, ()
    statuses = (0 if kind is Reply else getattr(kind, "_STATUS", 0) for kind in classes)
    return (_NONE if annotation is None else annotation), tuple(dict.fromkeys(statuses))


def _given(annotation: Any, content: Content, mode: Mode) -> Iterator[MessageType]:
    if annotation is None:
        yield MessageType(annotation=str if content == "text" else Any, content=content, mode=mode)
    else:
        yield from _types(annotation, "json" if content == "any" else content, mode)


def _types(annotation: Any, content: Content, mode: Mode, **options: Any) -> Iterator[MessageType]:
    for kind in members_of(annotation):
        yield MessageType(annotation=kind, content=_content_for(kind, content), mode=mode, **options)


def _content_for(kind: Any, content: Content) -> Content:
    """Return the content of a message: bytes are binary where nothing else is said."""
    return "binary" if content == "json" and inspect.isclass(kind) and issubclass(kind, bytes) else content


def members_of(annotation: Any) -> Iterable[Any]:
    """Yield the types of a union, one after the other; another type alone."""
    named = unaliased(annotation)
    origin = get_origin(named)
    if origin is Annotated and is_union(get_origin(unaliased(get_args(named)[0]))):
        yield from members_of(get_args(named)[0])
    elif is_union(origin):
        for member in get_args(named):
            yield from members_of(member)
    else:
        yield annotation
