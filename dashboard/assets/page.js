// The page: it asks the API once a second and shows what has changed.
import { createMap, nice } from "./map.js";
import { createChart } from "./chart.js";
import { showRun, showLost } from "./run.js";
import { duration, number, span, minutes } from "./format.js";

const $ = (id) => document.getElementById(id);
const map = createMap($("map"), $("map-tip"));
const chart = createChart({ stage: $("lines-stage"), svg: $("lines"), tip: $("lines-tip"), read: $("lines-read"), onPick: select });

let windows = null; // of /api/windows, null while there are none
let starts = []; // of all windows that have pick-ups
let chosen = null; // start of the window that the user picked, null for live
let playing = null; // timer of the play-through
let total = 0; // seconds that the map adds up; 0 for one window
let totalNext = 0, totalOf = null; // when to ask for a longer span again, and the window it ended with
let asking = "";
let most = 1; // the highest count seen: the map's scale does not jump about
let phase = "";
const airports = new Map(); // start -> { start, end, JFK, LGA }
let airportsUpTo = null; // the next question starts here
let asked = 0;
const bodies = new Map(); // path -> text of the last answer

// get returns the answer, or null if it is the one that we had.
async function get(path, slot = path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(8000) });
  const text = await answer.text();
  if (!answer.ok) {
    let reason = `${path} answered ${answer.status}`;
    try { reason = JSON.parse(text).error || reason; } catch { /* not ours: keep the status */ }
    throw Object.assign(new Error(reason), { answered: true });
  }
  const key = `${path}\n${text}`;
  if (bodies.get(slot) === key) return null;
  bodies.set(slot, key);
  return JSON.parse(text);
}

async function refresh() {
  const state = await get("api/state");
  if (state) {
    phase = state.phase;
    showRun(state);
  }
  await findWindows();
  await Promise.all([showCells(), showAirports()]);
  showEmpty();
}

// findWindows asks for the windows: mostly only for what is new, and now and
// then for all of them. They close in order, but partitions store their parts a
// little later, so the newest ones are asked for again.
async function findWindows() {
  const everything = !starts.length || asked++ % 30 === 0;
  const from = everything ? null : starts.at(-1) - 12 * windows.step;
  const found = await get(everything ? "api/windows" : `api/windows?from=${from}`, "windows");
  if (everything) airportsUpTo = null;
  if (!found) return;
  windows = found.size ? found : null;
  starts = everything ? found.starts : starts.filter((s) => s < from).concat(found.starts);
  slide();
}

const current = () => chosen ?? windows?.last ?? null;

async function showCells() {
  if (!windows) return;
  // Adding up many windows is work for the server, which has a job to run: not
  // every second, and at most a twentieth of the time.
  const begin = Date.now();
  if (total > 3600 && chosen === totalOf && begin < totalNext) return;
  const question = `api/cells?window=${chosen ?? "latest"}${total ? `&span=${total}` : ""}`;
  asking = question;
  const cells = await get(question, "cells");
  totalNext = begin + Math.max(5000, 20 * (Date.now() - begin));
  totalOf = chosen;
  if (!cells || asking !== question) return; // nothing new, or the user moved on meanwhile
  cells.cells.sort((a, b) => b.count - a.count);
  most = Math.max(most, nice(Math.max(cells.cells[0]?.count ?? 0, 4)));
  map.show(cells.cells, most);
  $("legend").hidden = false;
  $("tick0").textContent = "0";
  $("tick1").textContent = number(Math.max(Math.round(most / 4), 1));
  $("tick2").textContent = number(most);
  const sum = document.createElement("b");
  sum.textContent = number(cells.total);
  $("map-sum").replaceChildren(sum, ` pick-up${cells.total === 1 ? "" : "s"} in ${number(cells.cells.length)} cell${cells.cells.length === 1 ? "" : "s"}`);
  $("map-sum").hidden = false;
  const top = cells.cells.slice(0, 10);
  $("map").setAttribute("aria-label", `Map of pick-ups, ${span(cells.start, cells.end)}: ${number(cells.total)} in ${number(cells.cells.length)} cells`
    + (top.length ? `, most of them, ${number(top[0].count)}, in cell ${top[0].cell}` : ""));
  $("top-cells").replaceChildren(...top.map((c) => {
    const row = document.createElement("tr");
    for (const text of [c.cell, number(c.count)]) row.insertCell().textContent = text;
    return row;
  }));
}

async function showAirports() {
  if (!windows) return;
  const everything = airportsUpTo === null;
  const path = everything ? "api/airports" : `api/airports?from=${airportsUpTo - 12 * windows.step}`;
  const answer = await get(path, "airports");
  airportsUpTo = windows.last;
  if (!answer) return;
  if (everything) airports.clear();
  for (const p of answer.points) {
    const w = airports.get(p.start) ?? { start: p.start, end: p.end };
    w[p.airport] = { average: p.avg_trip_duration, trips: p.trip_count };
    airports.set(p.start, w);
  }
  chart.show(airports, windows.step);
  showKeys();
}

// showKeys writes the values of the window that the map shows.
function showKeys() {
  const at = airports.get(current());
  for (const code of ["JFK", "LGA"]) $(`${code.toLowerCase()}-now`).textContent = at?.[code] ? minutes(at[code].average) : "–";
  $("lines-when").textContent = at ? span(at.start, at.end) : "";
  chart.point(chosen);
}

function slide() {
  const slider = $("slider");
  for (const id of ["slider", "play", "live"]) $(id).disabled = !windows;
  if (!windows) return;
  $("one-window").textContent = duration(1000 * windows.size).replace(/ 0 (s|min|h)$/, "");
  slider.max = starts.length - 1;
  const start = current();
  slider.value = chosen === null ? starts.length - 1 : place(chosen);
  const text = span(total ? Math.min(start, start + windows.size - total) : start, start + windows.size);
  $("when").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  $("live").setAttribute("aria-pressed", String(chosen === null));
}

// place is the index of the window that begins at start, or of the next one.
function place(start) {
  const at = starts.findIndex((s) => s >= start);
  return at < 0 ? starts.length - 1 : at;
}

// select shows one window, or the newest for ever if start is null.
function select(start) {
  chosen = start === null || !starts.length ? null : starts[place(start)];
  slide();
  showKeys();
  showCells().catch(() => { /* the next round says so */ });
}

function play(on) {
  clearInterval(playing);
  playing = null;
  if (on) {
    if (chosen === null || chosen >= windows.last) select(starts[0]);
    playing = setInterval(() => {
      if (document.hidden) return;
      const next = starts[place(chosen) + 1];
      if (next === undefined) play(false);
      select(next ?? null);
    }, 220);
  }
  $("play").setAttribute("aria-label", on ? "Pause" : "Play the windows one after the other");
  $("play-shape").setAttribute("d", on ? "M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z" : "M4 2.5v11l9-5.5z");
}

function showEmpty() {
  let text = "";
  if (!windows) {
    text = phase === "finished" ? "This run ended without any result: no trip lay inside the geofence."
      : phase === "failed" ? "This run failed before its first window closed."
      : phase === "starting" ? "The run is starting."
      : "No window has closed yet. The first results come when the watermark passes a window's end.";
  }
  $("map-empty").textContent = text;
  $("lines-empty").textContent = text || (airports.size ? "" : "No trip has ended at JFK or LGA yet.");
}

$("slider").addEventListener("input", () => {
  play(false);
  select(starts[Number($("slider").value)]);
});
$("play").addEventListener("click", () => play(!playing));
$("live").addEventListener("click", () => { play(false); select(null); });

// choice makes buttons of which one is pressed.
function choice(name, chosen) {
  const buttons = [...document.querySelectorAll(`[data-${name}]`)];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      chosen(button.dataset[name]);
    });
  }
}
choice("span", (seconds) => chart.span(Number(seconds)));
choice("total", (seconds) => {
  total = Number(seconds);
  most = 1;
  totalNext = 0;
  slide();
  showCells().catch(() => { /* the next round says so */ });
});
choice("view", (name) => map.view(name));

chart.span(86400);
showEmpty();
let failures = 0;
for (;;) {
  try {
    await refresh();
    failures = 0;
    showLost(null);
  } catch (error) {
    failures++;
    totalNext = 0;
    bodies.clear(); // show everything again when it is back
    asked = 0;
    showLost(error, failures);
  }
  const pause = failures ? Math.min(1000 * failures, 5000) : phase === "finished" || phase === "failed" ? 3000 : 1000;
  await new Promise((wake) => setTimeout(wake, document.hidden ? 5000 : pause));
}
