// The map: cells shaded by their pick-ups over a quiet outline of the city.
import { land, parks, labels, airports } from "./shore.js";
import { number } from "./format.js";

// What a view shows at least, whatever the shape of the canvas. The city is the
// geofence and a margin.
const views = {
  city: { south: 40.545, north: 40.895, west: -74.075, east: -73.7 },
  manhattan: { south: 40.695, north: 40.832, west: -74.03, east: -73.9 },
};

export function createMap(canvas, tip) {
  const pen = canvas.getContext("2d");
  let view = views.city, cells = [], most = 1, project = null, pointer = null, width = 0, height = 0;

  function fit() {
    const ratio = window.devicePixelRatio || 1;
    width = canvas.clientWidth;
    height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { south, north, west, east } = view;
    // A degree of longitude is shorter than one of latitude by this much here.
    const squeeze = Math.cos(((south + north) / 2) * Math.PI / 180);
    const scale = Math.min(width / ((east - west) * squeeze), height / (north - south));
    const x0 = width / 2 - ((east + west) / 2) * squeeze * scale;
    const y0 = height / 2 + ((south + north) / 2) * scale;
    project = { x: (lon) => x0 + lon * squeeze * scale, y: (lat) => y0 - lat * scale };
  }

  function outline(points) {
    pen.beginPath();
    points.forEach(([lon, lat], i) => (i ? pen.lineTo(project.x(lon), project.y(lat)) : pen.moveTo(project.x(lon), project.y(lat))));
    pen.closePath();
  }

  function box(cell) {
    const x = project.x(cell.west), y = project.y(cell.north);
    return [x, y, project.x(cell.east) - x, project.y(cell.south) - y];
  }

  function draw() {
    fit();
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    pen.clearRect(0, 0, width, height);
    pen.lineJoin = "round";
    pen.lineWidth = 1;
    pen.strokeStyle = colour("--shore");
    for (const points of Object.values(land)) {
      outline(points);
      pen.fillStyle = colour("--land");
      pen.fill();
      pen.stroke();
    }
    pen.fillStyle = colour("--park");
    for (const points of parks) {
      outline(points);
      pen.fill();
    }
    const ramp = [0, 1, 2, 3].map((i) => parse(colour(`--heat${i}`)));
    for (const cell of cells) {
      const [x, y, w, h] = box(cell);
      pen.fillStyle = shade(ramp, heat(cell.count));
      pen.fillRect(x + 0.5, y + 0.5, w - 1, h - 1);
    }
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 3;
    pen.strokeStyle = colour("--land");
    for (const l of labels) {
      if (!inside(l)) continue;
      write(l.text, project.x(l.lon), project.y(l.lat), "500 12px", colour("--label"));
      if (l.to) line(project.x(l.lon) + 30, project.y(l.lat) + 4, project.x(l.to[0]), project.y(l.to[1]), colour("--label"));
    }
    for (const a of airports) {
      if (!inside(a)) continue;
      const x = project.x(a.box[0]), y = project.y(a.box[3]);
      pen.lineWidth = 1.25;
      pen.strokeStyle = colour("--mark");
      pen.strokeRect(x, y, project.x(a.box[2]) - x, project.y(a.box[1]) - y);
      pen.lineWidth = 3;
      pen.strokeStyle = colour("--land");
      write(a.code, (x + project.x(a.box[2])) / 2, y - 9, "700 12px", colour("--mark"));
    }
    hover();
  }

  function inside({ lon, lat }) {
    const x = project.x(lon), y = project.y(lat);
    return x > -20 && x < width + 20 && y > 0 && y < height;
  }

  function write(text, x, y, font, fill) {
    pen.font = `${font} system-ui, sans-serif`;
    const half = pen.measureText(text).width / 2 + 4;
    x = Math.min(Math.max(x, half), width - half);
    pen.globalAlpha = 0.8;
    pen.strokeText(text, x, y);
    pen.globalAlpha = 1;
    pen.fillStyle = fill;
    pen.fillText(text, x, y);
  }

  function line(x1, y1, x2, y2, stroke) {
    pen.save();
    pen.lineWidth = 1;
    pen.strokeStyle = stroke;
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.lineTo(x2, y2);
    pen.stroke();
    pen.restore();
  }

  // The square root keeps the quiet areas visible beside Midtown.
  const heat = (count) => Math.sqrt(Math.min(count / most, 1));

  // hover says what is under the pointer, also when that changes under it.
  function hover() {
    const found = pointer && project && cells.find((cell) => {
      const [x, y, w, h] = box(cell);
      return pointer.x >= x && pointer.x < x + w && pointer.y >= y && pointer.y < y + h;
    });
    tip.hidden = !found;
    if (!found) return;
    tip.textContent = `${number(found.count)} pick-up${found.count === 1 ? "" : "s"}\n${found.cell}`;
    place(tip, pointer.x, pointer.y, width, height);
  }

  canvas.addEventListener("pointermove", (e) => {
    pointer = { x: e.offsetX, y: e.offsetY };
    hover();
  });
  canvas.addEventListener("pointerleave", () => {
    pointer = null;
    hover();
  });
  new ResizeObserver(draw).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  return {
    view(name) {
      view = views[name];
      draw();
    },
    show(next, scale) {
      cells = next;
      most = scale;
      draw();
    },
  };
}

// place puts a tip beside a point, inside its stage.
export function place(tip, x, y, width, height) {
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = `${x + 14 + w > width ? Math.max(x - 14 - w, 0) : x + 14}px`;
  tip.style.top = `${Math.max(Math.min(y - h / 2, height - h), 0)}px`;
}

// parse reads #rrggbbaa.
function parse(hex) {
  return [1, 3, 5, 7].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

function shade(ramp, t) {
  const at = t * (ramp.length - 1), i = Math.min(Math.floor(at), ramp.length - 2), f = at - i;
  const [r, g, b, a] = ramp[i].map((v, k) => v + (ramp[i + 1][k] - v) * f);
  return `rgba(${r.toFixed(0)}, ${g.toFixed(0)}, ${b.toFixed(0)}, ${(a / 255).toFixed(3)})`;
}

// nice rounds up to a number that reads well on a legend.
export function nice(n) {
  const power = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return [1, 2, 4, 6, 8, 10].map((m) => m * power).find((v) => v >= n) || 10 * power;
}
