// Sorts the rows of a table that are shown by the column whose heading is pressed; pressed again, the other way.

const collator = new Intl.Collator(document.documentElement.lang, { numeric: true, sensitivity: "base" });

for (const table of document.querySelectorAll("table.sorts")) {
  const [body] = table.tBodies, headings = [...table.tHead.rows[0].cells], rows = [...body.rows];
  headings.forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.ariaSort === "ascending" ? -1 : 1;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.ariaSort = down < 0 ? "descending" : "ascending";
      const key = ({ cells }) => cells[place].dataset.sort ?? cells[place].textContent.trim();
      body.replaceChildren(...rows.toSorted((one, other) => down * collator.compare(key(one), key(other))));
    });
  });
}
