"""The document of AsyncAPI 3 for an application's routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from trio_ws.app.asyncapi.channel import ChannelObject, channel_key
from trio_ws.app.asyncapi.schemas import SchemaCollector
from trio_ws.http.url import URL
from trio_ws.options import check_text

if TYPE_CHECKING:
    from trio_ws.app.route import Route
    from trio_ws.app.services import AppServices

__all__ = ["ASYNCAPI_VERSION", "build_document"]

ASYNCAPI_VERSION: Final = "3.0.0"
"""The version of the specification: https://www.asyncapi.com/docs/reference/specification/v3.0.0"""

_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


def build_document(
    routes: Iterable[Route],
    services: AppServices,
    *,
    title: str = "Application",
    version: str = "0.1.0",
    description: str = "",
    servers: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the document; see `App.asyncapi`.

    Args:
        routes: all of them, checked.
        services: of the application.
        title: of the document.
        version: of the application.
        description: of the application; "" for none.
        servers: URLs by name.

    Raises:
        TypeError: an option is of another type.
        ValueError: a URL cannot be read.
    """
    check_text("title", title)
    check_text("version", version)
    check_text("description", description)
    schemas = SchemaCollector()
    channels: dict[str, ChannelObject] = {}
    for route in routes:
        key = channel_key(route.name, channels)
        channels[key] = ChannelObject(route, route.services or services, key, schemas)
    shared = schemas.build()
    document: dict[str, Any] = {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {"title": title, "version": version, **({"description": description} if description else {})},
        "defaultContentType": "application/json",
        **_servers(servers),
        "channels": {},
        "operations": {},
        "components": {"messages": {}, "schemas": shared},
    }
    for key, channel in channels.items():
        made, operations = channel.document(document["components"]["messages"])
        document["channels"][key] = made
        document["operations"] |= operations
    return document


def _servers(urls: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(urls, Mapping):
        raise TypeError(f'servers takes a mapping from names to URLs, {{"production": "wss://example.org"}}: {urls!r}')
    found: dict[str, Any] = {}
    for name, text in urls.items():
        url = URL.parse(text)
        path = url.raw_path if url.raw_path != "/" else ""
        port = "" if url.port == _DEFAULT_PORTS[url.scheme] else f":{url.port}"
        found[name] = {"host": f"{url.host}{port}", "protocol": url.scheme, **({"pathname": path} if path else {})}
    return {"servers": found} if found else {}
