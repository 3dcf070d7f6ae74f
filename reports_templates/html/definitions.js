// Opens what a "?" means beside it. Without this script the "?" leads to the glossary at the end of the page.
(function () {
  "use strict";
  const box = document.createElement("div");
  if (!box.showPopover) return;
  Object.assign(box, { id: "meaning", popover: "auto", tabIndex: -1 });
  box.setAttribute("role", "dialog");
  document.body.append(box);
  let opener = null;
  let wasOpen = false;

  const place = (mark) => {
    const at = mark.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(at.left - 12, room - box.offsetWidth - 8));
    const below = at.bottom + 6;
    const fits = below + box.offsetHeight < window.innerHeight || at.top < box.offsetHeight + 12;
    box.style.left = `${left + window.scrollX}px`;
    box.style.top = `${(fits ? below : at.top - box.offsetHeight - 6) + window.scrollY}px`;
  };
  const open = (mark, entry) => {
    opener = mark;
    box.replaceChildren(...[...entry.children].map((part) => part.cloneNode(true)));
    if (mark.dataset.name) box.querySelector("dt").textContent = `${mark.dataset.name} (${entry.querySelector("dt").textContent})`;
    box.setAttribute("aria-label", entry.querySelector("dt").textContent);
    box.showPopover();
    place(mark);
    mark.setAttribute("aria-expanded", "true");
    box.focus({ preventScroll: true });
  };
  box.addEventListener("toggle", (event) => {
    if (event.newState === "closed" && opener) opener.setAttribute("aria-expanded", "false");
  });
  document.querySelectorAll("a.tk-what").forEach((mark) => {
    const entry = document.getElementById(`what-${mark.dataset.metric}`);
    if (!entry) return;
    mark.removeAttribute("title"); // it opens beside the mark
    mark.setAttribute("role", "button");
    mark.setAttribute("aria-haspopup", "dialog");
    mark.setAttribute("aria-expanded", "false");
    mark.addEventListener("pointerdown", () => { wasOpen = opener === mark && box.matches(":popover-open"); });
    mark.addEventListener("click", (event) => {
      event.preventDefault();
      if (!wasOpen) open(mark, entry);
      wasOpen = false;
    });
    mark.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      mark.click();
    });
  });
})();
