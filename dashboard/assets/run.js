// The state of the run: header, banner, figures, tables.
import { number, bytes, duration, moment } from "./format.js";

const $ = (id) => document.getElementById(id);
let state = null;

export function showRun(next) {
  state = next;
  header();
  figures();
  counts();
  tables();
}

// showLost says that the server is away, or with null that it is back.
export function showLost(error, failures = 0) {
  document.body.classList.toggle("away", Boolean(error));
  if (!error) {
    header();
    return;
  }
  const text = error.answered ? `The server cannot answer: ${error.message}.` : "The server does not answer; perhaps it was stopped.";
  banner(`${text} What is shown is from before. Trying again${failures > 3 ? " every five seconds" : ""} …`, "bad");
  pill("lost", state ? "disconnected" : "no answer");
}

function pill(kind, text) {
  $("phase").className = `pill ${kind}`;
  if ($("phase").textContent !== text) $("phase").textContent = text;
}

function banner(text, kind = "") {
  $("banner").hidden = !text;
  $("banner").className = `banner ${kind}`;
  if ($("banner").textContent !== text) $("banner").textContent = text;
}

function header() {
  if (!state) return;
  const t = state.trips;
  pill(state.phase, state.phase);
  const name = document.createElement("b");
  name.textContent = state.job || "job";
  $("subject").replaceChildren(name, state.data_set ? ` on ${state.data_set}` : "");
  document.title = `${state.phase === "running" && t.total ? `${Math.floor(100 * t.read / t.total)}% ` : ""}${state.job} – tripgrid`;
  const took = state.ended && state.started ? ` It took ${duration(Date.parse(state.ended) - Date.parse(state.started))}.` : "";
  switch (state.phase) {
    case "finished":
      return banner(`Finished: ${number(t.read)} trips are read, every window is closed, stored and in checkpoint ${number(state.checkpoint.n)}.${took}`);
    case "failed":
      return banner(`The run failed${state.failure ? `: ${state.failure}` : "."}`, "bad");
    case "draining":
      return banner("All trips are read. The last windows are closing.");
    default:
      banner("");
  }
}

function fact(id, value, unit, note) {
  const small = document.createElement("small");
  small.textContent = unit;
  $(id).replaceChildren(value, unit ? " " : "", unit ? small : "");
  if ($(`${id}-note`)) $(`${id}-note`).textContent = note;
}

function figures() {
  const t = state.trips, c = state.checkpoint;
  const share = t.total ? t.read / t.total : 0;
  const left = t.total > t.read && t.rate > 0 ? `, ${duration(1000 * (t.total - t.read) / t.rate)} left` : "";
  fact("read", number(t.read), t.total ? `of ${number(t.total)}` : "", t.total ? `${(100 * share).toFixed(1)}%${left}` : "the end is not known");
  $("progress").hidden = !t.total;
  $("progress").value = share;
  const pace = state.speedup ? `replayed at ${number(state.speedup)}×` : "as fast as it goes";
  fact("rate", number(t.rate), "trips/s", state.speedup === 1 ? "in real time" : pace);
  fact("watermark", moment(state.watermark, false), "", dayOf(state.watermark));
  const size = c.n ? `took ${duration(c.duration_ms)}, ${bytes(c.bytes)}` : c.interval_ms ? `every ${duration(c.interval_ms)}` : "";
  const late = c.n > 0 && c.interval_ms > 0 && c.age_ms > 3 * c.interval_ms && state.phase === "running";
  $("checkpoint-card").classList.toggle("bad", Boolean(c.failure) || late);
  fact("checkpoint", c.n ? number(c.n) : "none yet", c.n ? `${duration(c.age_ms)} ago` : "", c.failure ? `The last attempt failed: ${c.failure}` : size);
  fact("written", number(state.written_documents), "", state.pending_documents ? `${number(state.pending_documents)} wait for the store` : "none waiting");
}

function dayOf(text) {
  const shown = moment(text);
  if (shown === "–") return "no event yet";
  if (shown === "the end") return "the data is over";
  const day = shown.slice(0, shown.lastIndexOf(" "));
  return `${day} ${new Date(text).getUTCFullYear()}`;
}

function counts() {
  const t = state.trips;
  $("counts").replaceChildren(...[
    ["sent", t.sent], ["applied", t.applied], ["outside the area", t.outside], ["repeated, counted once", t.repeated],
    ["late", t.late, true], ["unreadable", t.dead, true],
  ].map(([name, n, odd]) => {
    const div = document.createElement("div");
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = number(n);
    div.className = odd && n ? "odd" : "";
    div.append(dt, dd);
    return div;
  }));
}

function rows(id, list, cells, none) {
  const body = $(id);
  if (!list.length) {
    const row = document.createElement("tr"), cell = row.insertCell();
    cell.colSpan = 9;
    cell.className = "none";
    cell.textContent = none;
    return body.replaceChildren(row);
  }
  body.replaceChildren(...list.map((item) => {
    const row = document.createElement("tr");
    for (const [text, kind] of cells(item)) {
      const cell = row.insertCell();
      cell.textContent = text;
      if (kind) cell.className = kind;
      if (kind === "long") cell.title = text;
    }
    return row;
  }));
}

function tables() {
  $("shards-title").textContent = state.shards.length ? `Shards (${state.shards.length})` : "Shards";
  $("partitions-title").textContent = state.partitions.length ? `Partitions (${state.partitions.length})` : "Partitions";
  rows("shards", state.shards, (s) => [
    [s.id.replace(/^shardId-0*(?=\d)/, "shard ")], [moment(s.watermark)], [duration(s.behind_ms), "n"], [s.position || "–", "long"],
  ], "No shard is being read yet.");
  rows("partitions", state.partitions, (p) => [
    [p.id, "n"], [moment(p.watermark)], [number(p.ordinal), "n"], [number(p.open_panes), "n"],
    [p.queued_bytes ? bytes(p.queued_bytes) : "–", "n"], [p.checkpoint ? number(p.checkpoint) : "–", "n"],
  ], "No partition has started yet.");
  $("warnings-card").hidden = !state.warnings.length;
  $("warnings").replaceChildren(...state.warnings.map((text) => {
    const li = document.createElement("li");
    li.textContent = text;
    return li;
  }));
  const since = state.started ? `started ${new Date(state.started).toLocaleString("en-GB")}` : "";
  $("footer").textContent = [`tripgrid ${state.version || ""}`.trim(), state.profile && `geofence ${state.profile}`, since].filter(Boolean).join(" · ");
}
