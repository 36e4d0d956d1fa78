"""Draw the table of the closing handshake into docs/internals/closing.md.

python tools/closing_diagram.py            print the diagram and the table
python tools/closing_diagram.py --write    put them into the page
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from trio_ws.protocol.closing import TRANSITIONS, CloseAction
from trio_ws.protocol.states import CloseEvent, State

PAGE = Path(__file__).parents[1] / "docs/internals/closing.md"
BEGIN, END = "<!-- begin: drawn by tools/closing_diagram.py -->", "<!-- end -->"


def diagram() -> str:
    """Return the states and their transitions in Mermaid's language; what stays in its state is in the table only."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, row in TRANSITIONS.items():
        for event, transition in row.items():
            if transition.state is not state:
                arrows.setdefault((state.name, transition.state.name), []).append(event.name)
    lines = [f"    {start} --> {end}: {', '.join(events)}" for (start, end), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> OPEN", *lines, "```"])


def table() -> str:
    """Return all transitions as a Markdown table."""
    lines = ["| State | Event | Next state | Actions |", "|---|---|---|---|"]
    for state, row in TRANSITIONS.items():
        for event, transition in row.items():
            actions = ", ".join(action.name for action in transition.actions) or "-"
            lines.append(f"| {state.name} | {event.name} | {transition.state.name} | {actions} |")
    return "\n".join(lines)


def names(kind: type[State | CloseEvent | CloseAction]) -> str:
    """Return the members of an enumeration with their docstrings, as a Markdown list."""
    text = Path(sys.modules[kind.__module__].__file__ or "").read_text(encoding="utf-8")
    block = text.split(f"class {kind.__name__}(Enum):")[1]
    members = re.findall(
        r"    (\w+) = auto\(\)\n    \"\"\"(.*?)\"\"\"", block.split("\nclass ")[0].split("\n@")[0], re.S
    )
    return "\n".join(f"* `{name}`: {' '.join(said.split())}" for name, said in members)


def drawn() -> str:
    """Return the part of the page that is drawn from the table."""
    lists = "\n\n".join(
        f"## {title}\n\n{names(kind)}"
        for title, kind in (("States", State), ("Events", CloseEvent), ("Actions", CloseAction))
    )
    return f"{BEGIN}\n\n{diagram()}\n\n{lists}\n\n## Transitions\n\n{table()}\n\n{END}"


def page_with(part: str) -> str:
    """Return the page with its drawn part replaced by `part`."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + part + rest.split(END)[1]


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page_with(drawn()), encoding="utf-8")
    else:
        print(drawn())
