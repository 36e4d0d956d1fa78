"""A coffee bar, whose messages are validated JSON objects of two kinds.

trio-ws connect ws://localhost:8000/bar
{"type": "order", "drink": "espresso", "cups": 2}
{"type": "cancel", "number": 1}
{"type": "order", "drink": "tea"}

The last message is answered with a list of its errors, and the connection stays open.
"""

import sys
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field

from trio_ws import App, Depends, Ok, Reply, WebSocket
from trio_ws.app import Created, NotFound

Drink = Literal["espresso", "cappuccino", "filter"]


class Order(BaseModel):
    """An order of a guest."""

    type: Literal["order"]
    drink: Drink
    cups: int = Field(default=1, ge=1, le=10)


class Cancel(BaseModel):
    """The cancellation of an order."""

    type: Literal["cancel"]
    number: int


class Placed(BaseModel):
    """The answer to an order."""

    number: int
    order: Order


class Tab:
    """The orders of one guest; a dependency, created once for each connection."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.placed = 0

    def add(self, order: Order) -> Placed:
        """Add an order and number it."""
        self.placed += 1
        self.orders[self.placed] = order
        return Placed(number=self.placed, order=order)


app = App()
app.state.waste = 0
"""Cups of orders whose guests disconnected."""

OwnTab = Annotated[Tab, Depends()]


@app.listener("/bar")
async def bar(message: Annotated[Order | Cancel, Field(discriminator="type")], tab: OwnTab) -> Reply:
    match message:
        case Order():
            return Created(tab.add(message))
        case Cancel(number=number):
            order = tab.orders.pop(number, None)
            return NotFound(f"there is no order {number}") if order is None else Ok(order)


@bar.on_connect
async def welcome(ws: WebSocket) -> None:
    await ws.send_json({"menu": get_args(Drink)})


@bar.on_disconnect
async def clear(tab: OwnTab, code: int) -> None:
    app.state.waste += sum(order.cups for order in tab.orders.values())
    print(f"A guest left with {code}; {app.state.waste} cups wasted so far.", flush=True)


if __name__ == "__main__":
    try:
        app.run()
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
