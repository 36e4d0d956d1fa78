"""How a page looks: contrast, focus and width, in light and dark, narrow and wide; and its screenshot for the docs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SCREENSHOTS = os.environ.get("TRIO_WS_SCREENSHOTS")
"""The folder that screenshots are written into (`make screenshots`); none are by default."""
NARROW, WIDE = 390, 1280
HEIGHT = 720
SHOWN = {"width": 800, "height": 480}
"""The size of a screenshot: two fit into the width of the documentation, and a file has some kilobytes."""

PROBLEMS = """(least) => {
  const problems = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) problems.push(`${root.scrollWidth} pixels wide`);

  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = channels(colour).map((each) => linear(each / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor, [, , , alpha = 1] = channels(colour);
      if (alpha === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const check = (element, colour, text) => {
    const [a, b] = [luminance(colour), luminance(background(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < least) problems.push(`contrast ${contrast.toFixed(2)}: ${text}`);
  };
  const visible = [...document.body.querySelectorAll("*")].filter((each) => each.checkVisibility());
  for (const element of visible) {
    const texts = [...element.childNodes].filter((each) => each.nodeType === Node.TEXT_NODE);
    const own = texts.map((each) => each.data.trim()).join("");
    const style = getComputedStyle(element), svg = element instanceof SVGElement;
    if (own) check(element, svg ? style.fill : style.color, own);
    if (element.placeholder) check(element, getComputedStyle(element, "::placeholder").color, element.placeholder);
  }
  for (const element of visible.filter((each) => each.matches("a, button, input, textarea, [tabindex]"))) {
    element.focus();
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const outlined = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
    if (!outlined) problems.push(`no visible focus: ${element.id || element.tagName}`);
  }
  return problems;
}"""


def problems_of(page: Any, name: str) -> list[str]:
    """Return what is wrong with the look of a page as it is shown now; write its screenshot if that is wanted.

    Args:
        page: Playwright's.
        name: of the example.
    """
    found = []
    focused = page.evaluate_handle("() => document.activeElement")
    page.keyboard.press("Tab")  # a browser shows the focus to those who use the keyboard
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        for width in (NARROW, WIDE):
            page.set_viewport_size({"width": width, "height": HEIGHT})
            found += [f"{scheme}, {width}: {each}" for each in page.evaluate(PROBLEMS, 4.5)]
            if SCREENSHOTS == "all":
                page.screenshot(path=f"/tmp/{name}-{scheme}-{width}.png")
    focused.evaluate("(element) => element.focus()")
    if SCREENSHOTS not in (None, "all"):
        page.set_viewport_size(SHOWN)
        page.screenshot(path=Path(SCREENSHOTS, f"example-{name.replace('_', '-')}.png"))
    return found
