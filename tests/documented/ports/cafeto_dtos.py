"""Cafeto: the callback method with DTOs of every kind, not only of the document's."""

from dataclasses import dataclass
from typing import Any

import attrs
from pydantic import BaseModel
from typing_extensions import TypedDict

from trio_ws import App, Ok, WebSocket


class PydanticDto(BaseModel):
    message: str


@attrs.frozen
class AttrsDto:
    message: str


@dataclass
class DataclassDto:
    message: str


class DictDto(TypedDict):
    message: str


KINDS = [PydanticDto, AttrsDto, DataclassDto, DictDto]


def make_app(dto: type[Any]) -> tuple[App, list[Any]]:
    """Return an application whose messages are that DTO, and the list of those that came."""
    app = App()
    seen: list[Any] = []

    async def on_receive(data: dto) -> Any:
        seen.append(data)
        return Ok(data)

    @app.websocket("/chat", auto_accept=False)
    async def chat(ws: WebSocket) -> None:
        await ws.accept_callback(on_receive=on_receive)

    return app, seen
