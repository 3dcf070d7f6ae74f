// Hides the deliveries that do not hold every word typed. Loads nothing.
(function () {
  "use strict";
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const told = document.getElementById("found");
  const box = document.getElementById("search");
  const rows = [...document.querySelectorAll("#deliveries tbody tr")].map((row) => [row, plain(row.textContent)]);
  box.addEventListener("input", () => {
    const words = plain(box.value).split(/\s+/).filter(Boolean);
    let found = 0;
    rows.forEach(([row, text]) => {
      row.hidden = !words.every((word) => text.includes(word));
      found += row.hidden ? 0 : 1;
    });
    const sentence = told.dataset.words.replace("{found}", found).replace("{all}", rows.length);
    told.textContent = words.length ? sentence : "";
  });
})();
