"""The client's way to a server, up to the 101: `dial`. What comes after it is not here.

`plan` checks what is given, `stream` connects, `proxy` goes through proxies, `redirect` judges redirects, `connect`
puts them together; `backoff` says when to come back.
"""

from trio_ws.dial.backoff import Backoff, BackoffSettings, should_reconnect
from trio_ws.dial.connect import Dialled, dial

__all__ = ["Backoff", "BackoffSettings", "Dialled", "dial", "should_reconnect"]
