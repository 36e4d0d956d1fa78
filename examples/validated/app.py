"""A coffee bar: messages are JSON objects of two kinds, and only valid ones reach the code. Try it by hand:

trio-ws connect ws://localhost:8000/bar
{"type": "order", "drink": "espresso", "cups": 2}
{"type": "cancel", "number": 1}
{"type": "order", "drink": "tea"}

The last message is answered with a list of what is wrong with it, and the connection stays.
"""

import sys
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field

from trio_ws import App, Depends, Ok, Reply, WebSocket
from trio_ws.app import Created, NotFound

Drink = Literal["espresso", "cappuccino", "filter"]


class Order(BaseModel):
    """A guest wants something."""

    type: Literal["order"]
    drink: Drink
    cups: int = Field(default=1, ge=1, le=10)


class Cancel(BaseModel):
    """A guest does not want it any more."""

    type: Literal["cancel"]
    number: int


class Placed(BaseModel):
    """The answer to an order."""

    number: int
    order: Order


class Tab:
    """What one guest has ordered. As a dependency it is made once for each connection."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.placed = 0

    def add(self, order: Order) -> Placed:
        """Note an order, and give it a number."""
        self.placed += 1
        self.orders[self.placed] = order
        return Placed(number=self.placed, order=order)


app = App()
app.state.waste = 0
"""Cups that were ordered by guests who left without them."""

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
    except OSError as error:  # the port is taken, say
        sys.exit(str(error))
