"""What WCAG 2.2 asks of a page, levels A and AA, as far as a program can look: axe-core, width, keyboard."""

from functools import cache
from importlib.resources import files
from typing import Any

from playwright.sync_api import Page, ViewportSize

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
NARROW: ViewportSize = {"width": 390, "height": 844}
WIDE: ViewportSize = {"width": 1280, "height": 900}
ZOOMED: ViewportSize = {"width": 640, "height": 450}  # 1280 × 900 at 200 %
REFLOW: ViewportSize = {"width": 320, "height": 256}  # 1280 × 1024 at 400 %, WCAG 1.4.10

_FOCUSABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
# what can be reached, each numbered; of radio buttons with one name one is reached, the others by arrows
_NUMBER = f"""() => {{
  const names = new Set();
  return [...document.querySelectorAll("{_FOCUSABLE}")].filter((one) => {{
    if (one.disabled || !one.checkVisibility({{ visibilityProperty: true }})) return false;
    if (one.type === "radio" && names.size === names.add(one.name).size) return false;
    return true;
  }}).map((one, number) => {{ one.dataset.number = number; return one.outerHTML.slice(0, 120); }});
}}"""
_FROM_THE_TOP = """() => {
  const first = document.createElement("span");
  first.tabIndex = -1;
  document.body.prepend(first);
  first.focus();
  window.scrollTo(0, 0);
}"""
_WHERE = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const style = getComputedStyle(one), box = one.getBoundingClientRect();
  const told = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const inside = box.bottom > 0 && box.top < innerHeight && box.width > 0;
  return { number: one.dataset.number ?? null, html: one.outerHTML.slice(0, 120), told, inside };
}"""


@cache
def _script() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """What axe-core finds, a line for each element."""
    page.evaluate(_script())
    found: dict[str, Any] = page.evaluate(
        "(tags) => axe.run(document, { runOnly: tags, resultTypes: ['violations'] })", list(TAGS)
    )
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def too_wide(page: Page) -> list[str]:
    """What makes the page wider than its window, if anything."""
    found: list[str] = page.evaluate("""() => {
      const wide = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= wide) return [];
      return [...document.querySelectorAll("body *")]
        .filter((one) => one.getBoundingClientRect().right > wide + 1)
        .map((one) => one.outerHTML.slice(0, 120)).slice(0, 5);
    }""")
    return found


def unreached(page: Page) -> list[str]:
    """What the Tab key does not reach in one round, of all that can be used, or reaches unseen."""
    there = page.evaluate(_NUMBER)
    page.evaluate(_FROM_THE_TOP)
    seen: dict[str, None] = {}
    faults: list[str] = []
    for _ in range(3 * len(there) + 10):  # some fields have several stops: the parts of a date
        page.keyboard.press("Tab")
        where = page.evaluate(_WHERE)
        if where is None:
            break
        if where["number"] is not None and where["number"] not in seen:
            seen[where["number"]] = None
            if not where["told"]:
                faults.append(f"no outline: {where['html']}")
            if not where["inside"]:
                faults.append(f"out of sight: {where['html']}")
    else:
        faults.append("the focus never leaves the page again")
    order = [int(number) for number in seen]
    if order != sorted(order):
        faults.append(f"the order of the focus is not that of the page: {order}")
    return faults + [f"not reached: {html}" for number, html in enumerate(there) if str(number) not in seen]
