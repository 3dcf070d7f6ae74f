"use strict";
const state = document.getElementById("state"), errors = document.getElementById("errors");
const frame = document.getElementById("page");
const words = state.dataset;
let shownPage = false;

function load() {
  if (!shownPage) { frame.src = "/page"; shownPage = true; return; }
  const at = frame.contentWindow.scrollY;
  frame.addEventListener("load", () => frame.contentWindow.scrollTo(0, at), { once: true });
  frame.contentWindow.location.reload();
}

function item(error) {
  const line = document.createElement("li"), place = document.createElement("code");
  const parts = [error.path, error.section && words.section.replace("{name}", error.section),
    error.key && words.key.replace("{name}", error.key)].filter(Boolean);
  place.textContent = parts.join(", ");
  const said = document.createElement("b");
  said.textContent = (parts.length ? ": " : "") + error.message;
  line.append(place, said);
  return line;
}

const versions = new EventSource("/versions");
versions.onmessage = (message) => {
  const version = JSON.parse(message.data);
  if (!version.number) return;
  errors.replaceChildren(...version.errors.map(item));
  errors.hidden = !version.errors.length;
  state.textContent = !version.errors.length ? words.good.replace("{seconds}", version.seconds)
    : version.has_page ? words.bad : words.none;
  if (!version.errors.length || (version.has_page && !shownPage)) load();
  document.documentElement.dataset.version = version.number;
};
versions.onerror = () => { state.textContent = words.gone; };
