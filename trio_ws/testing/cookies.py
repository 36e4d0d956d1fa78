"""A cookie jar for test clients, by the rules of browsers (RFC 6265)."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping
from email.message import Message
from http.cookiejar import Cookie, CookieJar
from typing import TYPE_CHECKING
from urllib.request import Request

if TYPE_CHECKING:
    from trio_ws.headers import Headers
    from trio_ws.http.url import URL

__all__ = ["ClientCookies"]


class ClientCookies(MutableMapping[str, str]):
    """The cookies of a test client: those that the server has set, and those that the test puts in.

    Cookies go to the paths and hosts that they are for, and expire by the system's clock.

    Example:
        async with app.test_client() as client:
            client.cookies["token"] = "secret"
            await client.get("/login")
            assert "session" in client.cookies

    Args:
        host: the name of the host of cookies that the test puts in.
    """

    def __init__(self, host: str) -> None:
        self._host = _domain(host)
        self._jar = CookieJar()

    def __getitem__(self, name: str) -> str:
        found = [cookie for cookie in self._jar if cookie.name == name]
        if not found:
            raise KeyError(name)
        return max(found, key=lambda cookie: len(cookie.path)).value or ""

    def __setitem__(self, name: str, value: str) -> None:
        self._jar.set_cookie(_cookie(name, value, self._host))

    def __delitem__(self, name: str) -> None:
        found = [cookie for cookie in self._jar if cookie.name == name]
        if not found:
            raise KeyError(name)
        for cookie in found:
            self._jar.clear(cookie.domain, cookie.path, cookie.name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(cookie.name for cookie in self._jar))

    def __len__(self) -> int:
        return len(dict.fromkeys(self))

    def __repr__(self) -> str:
        return f"<ClientCookies {dict(self)!r}>"

    def clear(self) -> None:
        """Remove all cookies."""
        self._jar.clear()

    def sent_to(self, url: URL) -> dict[str, str]:
        """Return the cookies that a request for a URL has."""
        request = _request(url)
        self._jar.add_cookie_header(request)
        header = request.get_header("Cookie") or ""
        pairs = [pair.partition("=") for pair in header.split("; ") if pair]
        # Those with the longest path come first (RFC 6265 5.4), and win.
        return {name: value for name, _, value in reversed(pairs)}

    def take_from(self, url: URL, headers: Headers) -> None:
        """Store the cookies that a response to a request for a URL sets."""
        response = Message()
        for value in headers.get_list("set-cookie"):
            response["Set-Cookie"] = value
        self._jar.extract_cookies(_CookieResponse(response), _request(url))  # type: ignore[arg-type]


class _CookieResponse:
    """A response, as `http.cookiejar` reads it."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def info(self) -> Message:
        return self._message


def _request(url: URL) -> Request:
    scheme = "https" if url.scheme == "wss" else "http"
    return Request(f"{scheme}://{url.netloc}{url.target}")


def _domain(host: str) -> str:
    """Return the host as `http.cookiejar` calls it: names without a dot are local ones."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name if "." in name else f"{name}.local"


def _cookie(name: str, value: str, domain: str) -> Cookie:
    return Cookie(
        version=0,
        name=name,
        value=value,
        port=None,
        port_specified=False,
        domain=domain,
        domain_specified=False,
        domain_initial_dot=False,
        path="/",
        path_specified=True,
        secure=False,
        expires=int(time.time()) + 10 * 365 * 86400,
        discard=False,
        comment=None,
        comment_url=None,
        rest={},
    )
