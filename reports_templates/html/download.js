// The buttons under charts and tables: write the data beside them as CSV or as a workbook. Asks for nothing.
(function () {
  "use strict";
  const bytes = (text) => new TextEncoder().encode(text);
  const isNumber = (cell) => typeof cell === "number" && Number.isFinite(cell) && Math.abs(cell) < 1e15;
  const written = (cell) => (cell === null || cell === undefined ? "" : String(cell));

  // What a spreadsheet would run as a formula gets an apostrophe, as in our other files; numbers stay numbers.
  const formula = /^\s*[=+\-@\t\r\n＝＋－＠]/;
  const inside = /((?:^[;|]|[^\s;|]\s*[;|\t\r\n])[\s";|]*)([=+\-@＝＋－＠])/g;
  const safe = (text) => {
    const guarded = text.replace(inside, "$1'$2");
    return formula.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text) ? `'${guarded}` : guarded;
  };
  const field = (cell) => {
    const text = typeof cell === "string" ? safe(cell) : written(cell);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csv = (data) => bytes([data.columns.map((column) => column.label), ...data.rows]
    .map((row) => row.map(field).join(",")).join("\r\n") + "\r\n");

  // A workbook is a zip of XML; nothing in it is compressed.
  const escaped = (text) => text.replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd")
    .replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
  const cell = (value, style) => {
    if (value === null || value === undefined) return "<c/>";
    if (isNumber(value)) return `<c s="${style}"><v>${value}</v></c>`;
    return `<c t="inlineStr"><is><t xml:space="preserve">${escaped(written(value).slice(0, 32767))}</t></is></c>`;
  };
  const head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>';
  const main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
  const office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
  const packed = "http://schemas.openxmlformats.org/package/2006";
  const sheets = "application/vnd.openxmlformats-officedocument.spreadsheetml";
  const link = (kind, target) => `${head}<Relationships xmlns="${packed}/relationships">${kind.map((each, nth) =>
    `<Relationship Id="r${nth}" Type="${office}/${each}" Target="${target[nth]}"/>`).join("")}</Relationships>`;
  const styles = `${head}<styleSheet xmlns="${main}"><fonts><font/></fonts><fills><fill><patternFill patternType="none"/></fill></fills><borders><border/></borders>`
    + '<cellStyleXfs><xf/></cellStyleXfs><cellXfs><xf/><xf numFmtId="10" applyNumberFormat="1"/></cellXfs></styleSheet>';
  const sheet = (data) => `${head}<worksheet xmlns="${main}"><sheetData>${
    [data.columns.map((column) => column.label), ...data.rows].map((row, nth) => `<row>${row.map((value, place) =>
      cell(value, nth && data.columns[place].kind === "share" ? 1 : 0)).join("")}</row>`).join("")
  }</sheetData></worksheet>`;
  const xlsx = (data) => zip({
    "[Content_Types].xml": `${head}<Types xmlns="${packed}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>`
      + [["workbook", "sheet.main"], ["sheet", "worksheet"], ["styles", "styles"]].map(([name, kind]) =>
        `<Override PartName="/xl/${name}.xml" ContentType="${sheets}.${kind}+xml"/>`).join("") + "</Types>",
    "_rels/.rels": link(["officeDocument"], ["xl/workbook.xml"]),
    "xl/workbook.xml": `${head}<workbook xmlns="${main}" xmlns:r="${office}"><sheets><sheet name="Data" sheetId="1" r:id="r0"/></sheets></workbook>`,
    "xl/_rels/workbook.xml.rels": link(["worksheet", "styles"], ["sheet.xml", "styles.xml"]),
    "xl/sheet.xml": sheet(data),
    "xl/styles.xml": styles,
  });
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
    return byte;
  });
  const checksum = (content) => ~content.reduce((sum, byte) => (sum >>> 8) ^ table[(sum ^ byte) & 255], -1) >>> 0;
  const numbers = (...pairs) => pairs.flatMap(([value, size]) => Array.from({ length: size }, (_, at) => (value / 256 ** at) & 255));
  const zip = (files) => {
    const [parts, listed] = [[], []];
    let at = 0;
    Object.entries(files).forEach(([name, text]) => {
      const [called, content] = [bytes(name), bytes(text)];
      const facts = numbers([20, 2], [0, 6], [33, 2], [checksum(content), 4], [content.length, 4], [content.length, 4], [called.length, 2], [0, 2]);
      parts.push(Uint8Array.from([80, 75, 3, 4, ...facts]), called, content);
      listed.push(Uint8Array.from([80, 75, 1, 2, 20, 0, ...facts, ...numbers([0, 10], [at, 4])]), called);
      at += 30 + called.length + content.length;
    });
    const size = listed.reduce((sum, part) => sum + part.length, 0);
    const count = Object.keys(files).length;
    return [...parts, ...listed, Uint8Array.from([80, 75, 5, 6, ...numbers([0, 4], [count, 2], [count, 2], [size, 4], [at, 4], [0, 2])])];
  };

  const types = { csv: "text/csv", xlsx: `${sheets}.sheet` };
  const save = (content, type, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content].flat(), { type: types[type] }));
    link.download = `${name}.${type}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  // A file is named by its page and its card; where a card has several, by what each shows, or else by a number.
  const places = [...document.querySelectorAll(".downloads")];
  const cardOf = (place) => place.closest("section")?.querySelector(".topic, h2")?.textContent || "";
  const named = (words) => words.normalize("NFC").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  const taken = new Map();
  const nameOf = (place) => {
    const isAlone = places.filter((other) => cardOf(other) === cardOf(place)).length === 1;
    const shown = isAlone ? "" : place.closest("figure")?.querySelector(".sentence")?.textContent || "";
    const name = named([named(document.title).slice(0, 80), cardOf(place), shown].join("-").slice(0, 200)) || "data";
    taken.set(name, (taken.get(name) || 0) + 1);
    return taken.get(name) > 1 ? `${name}-${taken.get(name)}` : name;
  };
  places.forEach((place) => {
    const name = nameOf(place);
    place.hidden = false;
    place.addEventListener("click", (event) => {
      const type = event.target.dataset.as;
      if (!type) return;
      const data = JSON.parse(document.getElementById(place.dataset.of).textContent);
      save(type === "csv" ? csv(data) : xlsx(data), type, name);
    });
  });
})();
