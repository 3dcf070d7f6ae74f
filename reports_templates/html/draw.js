// Draws every chart of the page from the JSON beside it. Loads nothing, evaluates no text, opens no link.
(function () {
  "use strict";
  const refuse = () => Promise.reject(new Error("A report loads nothing."));
  const escaped = (value) => String(value).replace(/[<>&"'`]/g, (letter) => `&#${letter.charCodeAt(0)};`);
  // Our own, since the library's gives a field called "image" an unescaped address.
  const rows = (value) => Object.entries(value)
    .map(([key, cell]) => `<tr><td class="key">${escaped(key)}</td><td>${escaped(cell)}</td></tr>`).join("");
  const options = {
    mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false,
    loader: { load: refuse, sanitize: refuse, http: refuse, file: refuse },
    tooltip: {
      disableDefaultStyle: true,
      formatTooltip: (value) => Object(value) === value ? `<table><tbody>${rows(value)}</tbody></table>` : escaped(value),
    },
  };
  document.querySelectorAll("figure[data-chart]").forEach((figure) => {
    const spec = JSON.parse(document.getElementById(figure.dataset.chart).textContent);
    const plot = figure.querySelector(".plot");
    window.vegaEmbed(plot, spec, options).then(
      () => figure.classList.add("drawn"),
      (error) => {
        plot.textContent = plot.dataset.failed;
        console.error(error);
      },
    );
  });
})();
