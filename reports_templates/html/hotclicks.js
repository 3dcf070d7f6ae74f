// Hot clicks: a link of the list and its badges in the message show each other, by pointer and by keyboard.
(function () {
  "use strict";
  var roots = [document];
  document.querySelectorAll(".tk-message").forEach(function (host) {
    if (host.shadowRoot) roots.push(host.shadowRoot);
  });
  function show(number) {
    roots.forEach(function (root) {
      root.querySelectorAll("[data-link]").forEach(function (mark) {
        var isLit = mark.getAttribute("data-link") === number;
        mark.classList.toggle("lit", isLit);
        var row = mark.closest("tr");
        if (root === document && row) row.classList.toggle("lit", isLit);
      });
    });
  }
  function numberAt(event) {
    var place = event.composedPath()[0];
    if (!place.closest) return null;
    var mark = place.closest("[data-link]");
    var row = place.closest(".gt_table tr");
    mark = mark || (row && row.querySelector("[data-link]"));
    return mark ? mark.getAttribute("data-link") : null;
  }
  roots.forEach(function (root) {
    ["mouseover", "focusin"].forEach(function (kind) {
      root.addEventListener(kind, function (event) {
        if (root === document && event.composedPath()[0].getRootNode() !== document) return;
        show(numberAt(event));
      });
    });
  });
})();
