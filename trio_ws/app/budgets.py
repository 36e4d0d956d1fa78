"""Budgets of messages and bytes that clients may send in a time."""

from __future__ import annotations

import inspect
import logging
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs
import trio

from trio_ws.codes import CloseCode, check_close
from trio_ws.connection.budgeted import Over
from trio_ws.errors import BackplaneError
from trio_ws.options import check_flag, check_number, check_text, number
from trio_ws.rooms.topics import budget_topic, encoded
from trio_ws.runtime.token_bucket import Allowance, TokenBucket

if TYPE_CHECKING:
    from trio_ws.addresses import Address
    from trio_ws.rooms import Backplane
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Budget", "BudgetBook", "BudgetKey", "SharedAccount", "parse_budgets"]

logger: Final = logging.getLogger("trio_ws")

BudgetKey: TypeAlias = "Literal['connection', 'address'] | Callable[[WebSocket], Hashable]"
"""Whose budget it is: the connection's, all connections' of one address, or of those with an equal result."""

SHARED_TIMEOUT: Final = 0.5
"""Seconds that a message waits for the other processes' budget; then that of this process decides."""
_MOST_FULL: Final = 1024
"""Accounts from which on those whose tokens are all back are dropped, each time that their number has doubled."""
_HOST_BITS: Final = 64
"""Bits of an IPv6 address that a subscriber chooses: its network is the address."""


def _at_least_one(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        check_number(attribute.name, value, 1)


@attrs.frozen(kw_only=True, eq=False)
class Budget:
    """A bound of the messages that a client may send in a time.

    So much passes at once, and as much again in each further time.

    A budget is an account of its own: the same object on several routes counts them together.

    Args:
        messages: their number; None for any.
        bytes: their size, after decompression; None for any.
        per: the time, in seconds.
        over: what happens to a message beyond it. "slow": the connection is read no faster than the budget allows.
            "reply": it is dropped, and answered `{"statusCode": 429, "body": {"retryAfter": seconds}}`. "close": the
            connection closes with `code`.
        by: "connection"; "address" for all connections of one client's address (of one network of 64 bits in IPv6); or
            a function of the connection, called after guards and dependencies, whose results are users, say. None of it
            is the connection alone.
        code: the close code, 1008 or 4429 for instance.
        shared: count all processes together, through the backplane; each message costs a round trip to Redis. It needs
            a name.
        name: of the budget, the same in all processes.

    Raises:
        TypeError: an option is of another type.
        ValueError: an option makes no sense, or nothing is limited.
    """

    messages: int | None = attrs.field(default=None, validator=_at_least_one)
    bytes: int | None = attrs.field(default=None, validator=_at_least_one)
    per: float = attrs.field(default=1.0, validator=number("seconds", positive=True))
    over: Over = "slow"
    by: BudgetKey = "connection"
    code: int = int(CloseCode.POLICY_VIOLATION)
    shared: bool = False
    name: str = ""

    def __attrs_post_init__(self) -> None:
        if self.messages is None and self.bytes is None:
            raise ValueError("a Budget limits messages=, bytes= or both")
        if self.per == math.inf:
            raise ValueError("per is a number of seconds, not infinity: nothing would come back")
        if self.over not in ("slow", "reply", "close"):
            raise ValueError(f'over is "slow", "reply" or "close", not {self.over!r}')
        if self.by not in ("connection", "address") and not callable(self.by):
            raise ValueError(f'by is "connection", "address" or a function of the connection, not {self.by!r}')
        if inspect.iscoroutinefunction(self.by):
            raise TypeError("by takes a plain function: what has to be awaited is done in a guard or a dependency")
        check_number("code", self.code, 1000, 4999)
        check_close(self.code, "")
        check_flag("shared", self.shared)
        check_text("name", self.name)
        if self.shared and (not self.name or self.by == "connection"):
            raise ValueError(
                "a shared Budget has a name=, the same in all processes, and by= other than the connection"
            )

    @property
    def allowance(self) -> Allowance:
        """The limits, for a bucket."""
        return Allowance(self.messages or math.inf, self.bytes or math.inf, self.per)

    def key_of(self, websocket: WebSocket) -> Hashable:
        """Return whose account a connection uses; None for its own.

        Raises:
            TypeError: the function's result cannot be a key.
            ValueError: it cannot be one in Redis, with lone surrogates.
        """
        if self.by == "connection":
            return None
        if self.by == "address":
            return address_key(websocket.request.client)
        key = self.by(websocket)
        if self.shared and key is not None and not isinstance(key, str | int):
            raise TypeError(f"by= of a shared Budget returns text or a number, not {type(key).__name__}")
        if self.shared:
            encoded(str(key), "the key of a shared budget")
        hash(key)
        return key


def parse_budgets(value: Any) -> tuple[Budget, ...] | None:
    """Return the checked value of `budget=`: one, several, or None.

    Raises:
        TypeError: it is nothing of these.
    """
    if value is None:
        return None
    given = (value,) if isinstance(value, Budget) else value
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise TypeError(f"budget takes a Budget or a list of them, not {value!r}")
    budgets = tuple(given)
    for each in budgets:
        if not isinstance(each, Budget):
            raise TypeError(f"budget takes a Budget or a list of them, not {each!r}")
    return budgets


def address_key(client: Address) -> str:
    """Return the part of a client's address that it cannot choose."""
    host = client[0] if isinstance(client, tuple) else client or ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> _HOST_BITS << _HOST_BITS)}/{_HOST_BITS}"


class BudgetBook:
    """The accounts of an application, and how often messages were beyond them."""

    def __init__(self) -> None:
        self.over: Counter[str] = Counter()
        """Messages beyond a budget, by what happened to them."""
        self._buckets: dict[tuple[Budget, Hashable], TokenBucket] = {}
        self._sweep_at = _MOST_FULL

    def __len__(self) -> int:
        return len(self._buckets)

    def account(self, budget: Budget, key: Hashable, backplane: Backplane) -> LocalAccount | SharedAccount:
        """Return the account for a key, None for one of its own."""
        if key is None:
            own = TokenBucket(budget.allowance)
            return LocalAccount(budget, lambda: own, self.over)
        local = LocalAccount(budget, partial(self._bucket, budget, key), self.over)
        return SharedAccount(local, budget_topic(budget.name, str(key)), backplane) if budget.shared else local

    def _bucket(self, budget: Budget, key: Hashable) -> TokenBucket:
        bucket = self._buckets.get((budget, key))
        if bucket is None:
            if len(self._buckets) >= self._sweep_at:
                self._sweep()
            bucket = self._buckets[budget, key] = TokenBucket(budget.allowance)
        return bucket

    def _sweep(self) -> None:
        """Drop the buckets whose tokens are all back; new ones are as good."""
        now = trio.current_time()
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(now)}
        self._sweep_at = max(_MOST_FULL, 2 * len(self._buckets))


@attrs.define(eq=False)
class LocalAccount:
    """An account of this process."""

    budget: Budget
    bucket: Callable[[], TokenBucket]
    """Returns the bucket of now: one that was full may have been dropped."""
    counts: Counter[str]

    @property
    def over(self) -> Over:
        """The outcome of a message beyond the budget."""
        return self.budget.over

    @property
    def code(self) -> int:
        """The close code."""
        return self.budget.code

    async def spend(self, size: int) -> float:
        """Spend for one message; return 0.0, or the seconds that it is too early."""
        return self.count(self.bucket().spend(trio.current_time(), size, in_debt=self.over == "slow"))

    def count(self, seconds: float) -> float:
        """Count a message that is too early."""
        if seconds:
            self.counts[self.over] += 1
        return seconds


@attrs.define(eq=False)
class SharedAccount:
    """An account of all processes; while the backplane is away, that of this process."""

    local: LocalAccount
    topic: str
    backplane: Backplane

    @property
    def over(self) -> Over:
        """The outcome of a message beyond the budget."""
        return self.local.over

    @property
    def code(self) -> int:
        """The close code."""
        return self.local.code

    async def spend(self, size: int) -> float:
        """Spend for one message; return 0.0, or the seconds that it is too early."""
        allowance, in_debt = self.local.budget.allowance, self.over == "slow"
        try:
            with trio.fail_after(SHARED_TIMEOUT):
                return self.local.count(await self.backplane.spend(self.topic, allowance, size, in_debt=in_debt))
        except (BackplaneError, trio.TooSlowError) as error:
            logger.debug("budget %r is that of this process: %s", self.local.budget.name, error or "no answer")
            return await self.local.spend(size)
