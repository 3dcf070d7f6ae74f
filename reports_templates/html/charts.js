// Tips at the marks of charts, from their labels: by pointer, touch or arrow keys. Writes text only.
(function () {
  "use strict";
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  const line = (tag, text, colour) => {
    const made = tip.appendChild(document.createElement(tag));
    if (colour) made.appendChild(document.createElement("i")).style.background = colour;
    made.append(text);
  };
  const colourOf = (mark) => {
    const style = getComputedStyle(mark);
    return style.fill !== "none" ? style.fill : style.stroke;
  };
  const hide = () => {
    tip.hidden = true;
    document.querySelectorAll(".plot .on").forEach((mark) => mark.classList.remove("on"));
  };
  // What the marks have in common stands once; the rest beside the colour of each.
  const show = (marks, x, side) => {
    hide();
    if (!marks.length) return;
    const parts = marks.map((mark) => mark.words.split(" · "));
    const common = parts[0].filter((part) => parts.every((other) => other.includes(part)));
    tip.replaceChildren();
    const alone = marks.length === 1;
    common.forEach((part, place) => line(place ? "span" : "b", part));
    parts.forEach((words, place) => {
      const rest = words.filter((part) => !common.includes(part)).join(" · ");
      if (rest || !alone) line("span", rest, colourOf(marks[place].element));
    });
    marks.forEach((mark) => mark.element.classList.add("on"));
    tip.hidden = false;
    place(marks.map((mark) => mark.box), x, side);
  };
  // Beside the marks, or, if they are a row or there is no room, above or below them: never on what it is about.
  const place = (boxes, x, side) => {
    const { width, height } = tip.getBoundingClientRect();
    const [left, right] = [Math.min(...boxes.map((box) => box.left)), Math.max(...boxes.map((box) => box.right))];
    const [top, bottom] = [Math.min(...boxes.map((box) => box.top)), Math.max(...boxes.map((box) => box.bottom))];
    const within = (at, size, room) => Math.max(4, Math.min(at, room - size - 4));
    const across = right + 12 + width < innerWidth ? right + 12 : left - 12 - width;
    const isBeside = side === "x" && across > 4;
    const above = top - 10 - height;
    const [at, down] = isBeside ? [across, within(above, height, innerHeight)] : [within(x + 12, width, innerWidth), above > 4 ? above : bottom + 10];
    tip.style.transform = `translate(${at}px, ${down}px)`;
  };
  const watch = (plot) => {
    const pictures = [...plot.querySelectorAll("svg")];
    const words = [...pictures[0].querySelectorAll(".m > *")].map((mark) => mark.dataset.words);
    pictures.forEach((svg) => {
      const by = svg.dataset.by;
      const side = by === "y" ? "y" : "x";
      let at = -1;
      const marks = () => [...svg.querySelectorAll(".m > *")].map((element, place) => {
        const box = element.getBoundingClientRect();
        const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
        const [from, to] = side === "x" ? [box.left, box.right] : [box.top, box.bottom];
        return { element, words: words[place], x, y, from, to, box, unseen: element.getAttribute("opacity") === "0" };
      }).filter((mark) => mark.words);
      const gap = (mark, x, y) => {
        const dx = Math.max(mark.box.left - x, x - mark.box.right, 0);
        const dy = Math.max(mark.box.top - y, y - mark.box.bottom, 0);
        return by === "mark" ? Math.hypot(dx, dy) : side === "x" ? dx : dy;
      };
      // The marks at the place of one: those whose middle it covers, and the nearest of every other line.
      const beside = (every, mark) => {
        if (by === "mark") return [mark];
        const together = every.filter((other) => Math.abs(other[side] - mark[side]) <= (mark.to - mark.from) / 2 + 0.5);
        return mark.unseen ? nearest(together, mark) : together;
      };
      const nearest = (marks, mark) => {
        const found = new Map();
        marks.forEach((other) => {
          const colour = colourOf(other.element);
          const best = found.get(colour);
          if (!best || Math.abs(other[side] - mark[side]) < Math.abs(best[side] - mark[side])) found.set(colour, other);
        });
        return [...found.values()];
      };
      svg.addEventListener("pointermove", (event) => {
        const every = marks();
        const near = every.reduce((best, mark) => {
          const far = gap(mark, event.clientX, event.clientY) * 1e4 + Math.hypot(mark.x - event.clientX, mark.y - event.clientY);
          return best && best.far <= far ? best : { mark, far };
        }, null);
        if (near && near.far < 40e4) show(beside(every, near.mark), event.clientX, side); else hide();
      });
      svg.addEventListener("pointerleave", (event) => event.pointerType === "touch" || hide());
      svg.addEventListener("blur", hide);
      svg.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === "Escape") hide();
        if (!step) return;
        event.preventDefault();
        const every = marks().sort((one, other) => one[side] - other[side] || one.y - other.y);
        const stops = by === "mark" ? every : every.filter((mark, place) => !place || mark[side] - every[place - 1][side] > 0.5);
        at = Math.max(0, Math.min(stops.length - 1, at + step));
        if (stops[at]) show(beside(every, stops[at]), stops[at].x, side);
      });
      svg.tabIndex = 0;
    });
  };
  document.querySelectorAll(".plot").forEach(watch);
  document.addEventListener("scroll", hide, true);
})();
