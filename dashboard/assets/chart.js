// The chart: one line per airport over event time, in minutes.
import { clock, dayMonth, minutes, monthYear, number, span } from "./format.js";
import { place } from "./map.js";

const codes = ["JFK", "LGA"];
const pad = { left: 38, right: 40, top: 12, bottom: 38 };
const svgSpace = "http://www.w3.org/2000/svg";

export function createChart({ stage, svg, tip, read, onPick }) {
  // windows maps a window's start to { start, end, JFK: {average, trips}, LGA: ... }.
  let windows = new Map(), list = [], range = 0, step = 600, shown = null, cursor = null, view = null;

  const node = (name, attributes, text) => {
    const n = document.createElementNS(svgSpace, name);
    for (const [k, v] of Object.entries(attributes)) n.setAttribute(k, v);
    if (text !== undefined) n.textContent = text;
    return n;
  };

  function draw() {
    const width = stage.clientWidth, height = stage.clientHeight;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    list = [...windows.values()].sort((a, b) => a.start - b.start);
    const last = list.at(-1);
    view = null;
    if (!last) return;
    if (range) { // up to the newest window, or around the one that is shown
      const end = shown !== null && shown <= last.start - range ? shown + range / 2 : last.start;
      list = list.filter((w) => w.start > end - range && w.start <= end);
      if (!list.length) return;
    }
    const from = list[0].start, to = Math.max(list.at(-1).start, from + step);
    const values = list.flatMap((w) => codes.map((c) => w[c]?.average ?? 0));
    const [top, gap] = scale(Math.max(...values, 1));
    const x = (t) => pad.left + ((t - from) / (to - from)) * (width - pad.left - pad.right);
    const y = (v) => height - pad.bottom - (v / top) * (height - pad.top - pad.bottom);
    view = { x, y, width, height, from, to };

    for (let v = 0; v <= top; v += gap) {
      svg.append(node("line", { class: v ? "grid" : "axis", x1: pad.left, x2: width - pad.right, y1: y(v), y2: y(v) }));
      svg.append(node("text", { x: pad.left - 8, y: y(v) + 4, "text-anchor": "end" }, v));
    }
    svg.append(node("text", { x: pad.left - 8, y: pad.top + 19, "text-anchor": "end" }, "min"));
    times(from, to, width, height, x);
    const ends = codes.map((code) => line(code, x, y)).filter(Boolean).sort((a, b) => a.y - b.y);
    ends.forEach((end, i) => { // names must not lie on one another
      if (i && end.y - ends[i - 1].y < 14 && Math.abs(end.x - ends[i - 1].x) < 34) end.y = ends[i - 1].y + 14;
      svg.append(node("text", { class: `end ${end.code}`, x: Math.min(end.x + 6, width - 30), y: end.y + 4 }, end.code));
    });
    if (shown !== null && shown >= from && shown <= to) {
      svg.append(node("line", { class: "shown", x1: x(shown), x2: x(shown), y1: pad.top, y2: height - pad.bottom }));
    }
    if (cursor !== null) mark();
    const newest = list.at(-1);
    const words = codes.map((c) => (newest[c] ? `${c} ${minutes(newest[c].average)}` : `${c} no trips`)).join(", ");
    svg.setAttribute("aria-label", `Average trip duration, up to ${span(newest.start, newest.end)}. There: ${words}.`);
  }

  function times(from, to, width, height, x) {
    const room = Math.max(2, Math.floor((width - pad.left - pad.right) / 76));
    const every = [600, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31557600, 63115200]
      .find((s) => (to - from) / s <= room) || 315576000;
    let day = "";
    for (let t = Math.ceil(from / every) * every; t <= to; t += every) {
      svg.append(node("line", { class: "grid", x1: x(t), x2: x(t), y1: pad.top, y2: height - pad.bottom }));
      if (every < 86400) svg.append(node("text", { x: x(t), y: height - pad.bottom + 18, "text-anchor": "middle" }, clock(t)));
      const name = every < 2592000 ? dayMonth(t) : monthYear(t);
      if (name !== day) {
        svg.append(node("text", { class: "day", x: x(t), y: height - pad.bottom + (every < 86400 ? 33 : 18), "text-anchor": "middle" }, name));
      }
      day = name;
    }
  }

  // line draws one airport's line and returns where it ends.
  function line(code, x, y) {
    // Several windows on one pixel become one point: their trips' average.
    const bucket = Math.max(step, (1.5 * (view.to - view.from)) / Math.max(view.width - pad.left - pad.right, 1));
    const points = [];
    let place = null;
    for (const w of list) {
      if (!w[code]) continue;
      const at = Math.floor((w.start - view.from) / bucket);
      if (at !== place) points.push({ t: w.start, sum: 0, trips: 0 });
      place = at;
      const p = points.at(-1);
      p.sum += w[code].average * w[code].trips;
      p.trips += w[code].trips;
      p.v = p.sum / p.trips;
    }
    if (!points.length) return null;
    // A pause is a gap in the line, not a slope.
    const hole = Math.max(6 * step, 6 * bucket);
    let path = "";
    points.forEach((p, i) => {
      const begins = i === 0 || p.t - points[i - 1].t > hole;
      path += `${begins ? "M" : "L"}${x(p.t).toFixed(1)} ${y(p.v).toFixed(1)}`;
      const alone = begins && (i + 1 === points.length || points[i + 1].t - p.t > hole);
      if (alone) svg.append(node("circle", { class: `dot ${code}`, cx: x(p.t), cy: y(p.v), r: 3.5 }));
    });
    svg.append(node("path", { class: `line ${code}`, d: path }));
    const end = points.at(-1);
    return { code, x: x(end.t), y: y(end.v) };
  }

  // mark shows the cursor's window: a line, the values, and a word for readers.
  function mark() {
    svg.querySelector("g.mark")?.remove();
    const w = windows.get(cursor);
    tip.hidden = !w || !view || cursor < view.from;
    if (tip.hidden) return;
    const g = node("g", { class: "mark" });
    const at = view.x(w.start);
    g.append(node("line", { class: "cursor", x1: at, x2: at, y1: pad.top, y2: view.height - pad.bottom }));
    const words = [span(w.start, w.end)];
    for (const c of codes) {
      if (w[c]) g.append(node("circle", { class: `dot ${c}`, cx: at, cy: view.y(w[c].average), r: 4.5 }));
      words.push(w[c] ? `${c}  ${minutes(w[c].average)}, ${number(w[c].trips)} trip${w[c].trips === 1 ? "" : "s"}` : `${c}  no trips`);
    }
    svg.append(g);
    tip.textContent = words.join("\n");
    place(tip, at, view.height * 0.22, view.width, view.height);
  }

  function nearest(offset) {
    if (!view) return null;
    const t = view.from + ((offset - pad.left) / (view.width - pad.left - pad.right)) * (view.to - view.from);
    return list.reduce((best, w) => (Math.abs(w.start - t) < Math.abs(best.start - t) ? w : best), list[0]).start;
  }

  function move(to) {
    cursor = to;
    if (cursor === null) {
      svg.querySelector("g.mark")?.remove();
      tip.hidden = true;
    } else {
      mark();
    }
  }

  stage.addEventListener("pointermove", (e) => move(nearest(e.clientX - stage.getBoundingClientRect().left)));
  stage.addEventListener("pointerleave", () => move(null));
  stage.addEventListener("blur", () => move(null));
  stage.addEventListener("click", () => { if (cursor !== null) onPick(cursor); });
  stage.addEventListener("keydown", (e) => {
    const at = list.findIndex((w) => w.start === cursor);
    const to = {
      ArrowLeft: at < 0 ? list.length - 1 : at - 1, ArrowRight: at < 0 ? list.length - 1 : at + 1,
      Home: 0, End: list.length - 1,
    }[e.key];
    if (e.key === "Escape") move(null);
    if (e.key === "Enter" && cursor !== null) onPick(cursor);
    if (to === undefined || !list.length) return;
    e.preventDefault();
    move(list[Math.min(Math.max(to, 0), list.length - 1)].start);
    read.textContent = tip.textContent;
  });
  new ResizeObserver(draw).observe(stage);

  return {
    show(next, every) {
      windows = next;
      step = every;
      draw();
    },
    span(seconds) {
      range = seconds;
      draw();
    },
    point(start) {
      if (shown === start) return;
      shown = start;
      draw();
    },
  };
}

// scale is the top of an axis and the gap between its lines.
function scale(most) {
  const gap = [1, 2, 5, 10, 15, 20, 30, 60].find((g) => most / g <= 6) || 60;
  return [Math.ceil(most / gap) * gap, gap];
}
