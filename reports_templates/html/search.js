// Sorts, finds and filters the deliveries of the index. Loads nothing; without it everything is listed.
(function () {
  "use strict";
  const folded = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").replace(/[\u2010-\u2015\u2212]/g, "-").toLowerCase();
  const table = document.getElementById("deliveries");
  const form = document.getElementById("filters");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const count = document.getElementById("found");
  const box = document.getElementById("search");
  const choices = [...form.querySelectorAll("select")];
  const none = document.getElementById("none");
  const texts = new Map();
  // What a delivery is found by: its name, subject, id and dates, never the words of links to its reports.
  const text = (row) => {
    if (!texts.has(row)) {
      const parts = [...row.querySelectorAll("th > a:first-child, th > bdi, .sub bdi, .key")].map((part) => part.textContent);
      texts.set(row, folded([...parts, row.cells[1].firstChild.textContent, row.dataset.day, row.dataset.words].join(" ")));
    }
    return texts.get(row);
  };
  const fits = (row, name, value) => {
    if (name !== "day") return row.dataset[name] === value;
    const [since, to] = value.split(" ");
    return row.dataset.day >= since && row.dataset.day <= to && row.dataset.day !== "";
  };
  // From where a word begins, so that "ink" is not part of "hyperlink".
  const isLetter = (letter) => /[\p{L}\p{N}]/u.test(letter);
  const isBegun = (words, part) => {
    for (let at = words.indexOf(part); at >= 0; at = words.indexOf(part, at + 1)) {
      if (!at || !isLetter(words[at - 1]) || !isLetter(part[0])) return true;
    }
    return false;
  };
  const narrow = () => {
    const words = folded(box.value).split(/\s+/).filter(Boolean);
    const chosen = choices.filter((choice) => choice.value);
    let found = 0;
    rows.forEach((row) => {
      const isShown = chosen.every((choice) => fits(row, choice.dataset.filter, choice.value))
        && (!words.length || words.every((word) => isBegun(text(row), word)));
      row.hidden = !isShown;
      found += isShown ? 1 : 0;
    });
    count.textContent = count.dataset.words.replace("{found}", found).replace("{all}", rows.length);
    none.hidden = found > 0 || !rows.length;
  };
  const value = (row, place) => {
    const cell = row.cells[place];
    const raw = cell.dataset.value ?? folded(cell.textContent.trim());
    return raw !== "" && isFinite(raw) ? Number(raw) : raw;
  };
  const sort = (heading) => {
    const place = heading.cellIndex;
    const isNumber = heading.matches(".number, .when");
    const before = heading.getAttribute("aria-sort");
    const isUp = before ? before === "descending" : !isNumber;
    [...heading.parentNode.cells].forEach((cell) => cell.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const keyed = rows.map((row) => [value(row, place), row]);
    keyed.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // unknown ones last
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), document.documentElement.lang);
      return isUp ? order : -order;
    });
    body.append(...keyed.map(([, row]) => row));
  };
  table.querySelectorAll("thead th:not([data-unsorted])").forEach((heading) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(heading));
  });
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", narrow);
  none.querySelector("button").addEventListener("click", () => {
    form.reset();
    narrow();
    box.focus();
  });
  narrow();
})();
