// A filter over the definitions; without this script all of them are a plain list.
(() => {
  const line = document.querySelector(".filter"), found = line.querySelector("[role=status]");
  const bare = (text) => text.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "");
  const entries = [...document.querySelectorAll(".glossary dl > div")].map((entry) => [entry, bare(entry.textContent)]);
  const groups = [...document.querySelectorAll("section.glossary")];
  line.hidden = false;
  line.querySelector("input").addEventListener("input", (event) => {
    const words = bare(event.target.value).split(/\s+/).filter(Boolean);
    for (const [entry, text] of entries) entry.hidden = !words.every((word) => text.includes(word));
    for (const group of groups) group.hidden = !group.querySelector("dl > div:not([hidden])");
    const shown = entries.filter(([entry]) => !entry.hidden).length;
    found.textContent = words.length ? found.dataset.words.replace("{found}", shown).replace("{all}", entries.length) : "";
  });
})();
