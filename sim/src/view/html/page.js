"use strict";
// Zoom by moving and stretching what is there; a time in the address marks a moment.
(() => {
  const svg = document.getElementById("time"), box = svg.parentElement, cursor = document.getElementById("cursor");
  const moment = document.getElementById("moment");
  const seconds = +svg.dataset.seconds, base = +svg.dataset.width;
  const held = [];
  for (const e of svg.querySelectorAll(":scope > :not(defs)")) {
    if (e === cursor || e === moment) continue;
    const get = (name) => +e.getAttribute(name);
    if (e.tagName === "rect") held.push([e, "r", get("x"), get("width")]);
    else if (e.tagName === "line") held.push([e, "l", get("x1")]);
    else if (e.tagName === "circle") held.push([e, "c", get("cx")]);
    else if (e.tagName === "text") {
      const gap = e.getAttribute("text-anchor") === "end" ? -3 : 3;
      held.push([e, "t", get("x") - gap, +e.dataset.w || 0, gap]);
    }
    else if (e.tagName === "path") held.push([e, "p", e.dataset.a.split(" ").map(Number)]);
  }
  let zoom = 1, marked = null;
  const place = () => {
    if (marked === null) return;
    const x = (marked / seconds) * base * zoom;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    const left = x + 80 > base * zoom;
    moment.setAttribute("x", left ? x - 4 : x + 4);
    moment.setAttribute("text-anchor", left ? "end" : "start");
    moment.setAttribute("visibility", "visible");
    moment.textContent = `${marked} s`;
  };
  const stretch = (to, about) => {
    const middle = about === undefined ? box.clientWidth / 2 : about;
    const at = (box.scrollLeft + middle) / zoom;
    zoom = Math.min(200, Math.max(box.clientWidth / base, to));
    svg.setAttribute("width", base * zoom);
    for (const [e, kind, x, w, gap] of held) {
      if (kind === "r") {
        e.setAttribute("x", x * zoom);
        e.setAttribute("width", w <= 2.4 ? w : w * zoom);
      } else if (kind === "l") {
        e.setAttribute("x1", x * zoom);
        e.setAttribute("x2", x * zoom);
      } else if (kind === "c") e.setAttribute("cx", x * zoom);
      else if (kind === "t") {
        e.setAttribute("x", x * zoom + gap);
        if (w) e.style.display = w * zoom < 56 ? "none" : "";
      } else {
        const [x1, y1, x2, y2, bend] = [x[0] * zoom, x[1], x[2] * zoom, x[3], x[4]], reach = (x2 - x1) / 3;
        e.setAttribute("d", `M${x1} ${y1}C${x1 + reach} ${y1 + bend} ${x2 - reach} ${y2 + bend} ${x2} ${y2}`);
      }
    }
    box.scrollLeft = at * zoom - middle;
    place();
  };
  const follow = () => {
    const asked = /^#t=([0-9.]+)/.exec(location.hash);
    if (!asked) return;
    marked = +asked[1];
    place();
    box.scrollLeft = (marked / seconds) * base * zoom - box.clientWidth / 2;
  };
  document.getElementById("in").onclick = () => stretch(zoom * 2);
  document.getElementById("out").onclick = () => stretch(zoom / 2);
  document.getElementById("fit").onclick = () => stretch(0);
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    stretch(zoom * (event.deltaY < 0 ? 1.25 : 0.8), event.clientX - box.getBoundingClientRect().left);
  }, { passive: false });
  svg.addEventListener("click", (event) => {
    const x = event.clientX - svg.getBoundingClientRect().left;
    history.replaceState(null, "", "#t=" + ((x / (base * zoom)) * seconds).toFixed(3));
    follow();
  });
  addEventListener("hashchange", follow);
  stretch(0);
  follow();
})();
