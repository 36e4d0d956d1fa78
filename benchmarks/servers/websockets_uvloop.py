"""websockets on uvloop."""

import uvloop
from place import place
from websockets_asyncio import main

uvloop.run(main(place()))
