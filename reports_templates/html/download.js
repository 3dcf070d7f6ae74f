// The buttons under charts and tables: write the data beside them as CSV or as a workbook. Asks for nothing.
(function () {
  "use strict";
  document.querySelectorAll(".downloads").forEach((place) => { place.hidden = false; });
})();
