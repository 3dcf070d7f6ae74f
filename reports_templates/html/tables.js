// Sorts a table by a click on a heading, and filters long ones. Works on what the page holds; loads nothing.
(function () {
  "use strict";
  const words = document.querySelector("main").dataset;
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

  const keysOf = (table, rows, place) => {
    const holder = table.closest("[data-piece]");
    const source = holder && document.getElementById(`data-${holder.dataset.piece}`);
    const data = source ? JSON.parse(source.textContent) : null;
    const name = [...table.tHead.rows[0].cells[place].classList].pop();
    const column = data ? data.columns.findIndex((each) => each.name === name) : -1;
    return data && column >= 0 && data.rows.length === rows.length
      ? data.rows.map((row) => row[column])
      : rows.map((row) => (row.cells[place] ? row.cells[place].textContent.trim() : ""));
  };
  const compare = (one, other) =>
    typeof one === "number" && typeof other === "number"
      ? one - other
      : String(one).localeCompare(String(other), document.documentElement.lang, { numeric: true });

  const sortable = (table) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    const sorted = { place: -1, way: 0 };
    headings.forEach((heading, place) => {
      if (heading.tagName !== "TH" || heading.classList.contains("bar")) return;
      const keys = keysOf(table, rows, place);
      const first = heading.classList.contains("n") ? -1 : 1; // figures begin with the largest
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      const mark = heading.querySelector(".tk-what"); // a link, which may not stand in a button
      if (mark) mark.remove();
      button.append(...heading.childNodes);
      heading.append(button, ...(mark ? [mark] : []));
      button.addEventListener("click", () => {
        const before = sorted.place === place ? sorted.way : 0;
        const way = before === 0 ? first : before === first ? -first : 0;
        Object.assign(sorted, { place, way });
        headings.forEach((each) => each.removeAttribute("aria-sort"));
        if (way) heading.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
        const order = rows.map((row, at) => at);
        if (way) {
          order.sort((one, other) => {
            const sums = rows[one].classList.contains("sum") - rows[other].classList.contains("sum");
            const unknown = (keys[one] === null || keys[one] === "") - (keys[other] === null || keys[other] === "");
            return sums || unknown || way * compare(keys[one], keys[other]) || one - other;
          });
        }
        body.append(...order.map((at) => rows[at]));
      });
    });
  };

  const filtered = (scroll, table) => {
    const rows = [...table.tBodies[0].rows].map((row) => [row, plain(row.textContent)]);
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "search", autocomplete: "off" });
    const found = document.createElement("span");
    found.setAttribute("role", "status");
    label.append(`${words.filter} `, box);
    const all = words.rows.replace("{all}", rows.length);
    found.textContent = all;
    const line = document.createElement("p");
    line.className = "filter";
    line.append(label, found);
    scroll.before(line);
    box.addEventListener("input", () => {
      const typed = plain(box.value).split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach(([row, text]) => {
        row.hidden = !typed.every((word) => text.includes(word));
        count += row.hidden ? 0 : 1;
      });
      found.textContent = typed.length ? words.found.replace("{found}", count).replace("{all}", rows.length) : all;
    });
  };

  document.querySelectorAll(".scroll").forEach((scroll) => {
    const table = scroll.querySelector("table.sortable");
    if (table) sortable(table);
    if (table && scroll.classList.contains("long")) filtered(scroll, table);
  });
})();
