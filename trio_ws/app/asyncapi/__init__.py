"""A description of an application by AsyncAPI 3, as JSON, as a page and as types of TypeScript.

Not here: anything that runs while connections are served. Begin with `document`.
"""

from __future__ import annotations
