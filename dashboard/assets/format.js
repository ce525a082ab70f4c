// Numbers, sizes and times as people read them. Event times are shown as they
// stand in the data: in UTC, without naming a zone.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const day = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", weekday: "short", day: "numeric", month: "short", year: "numeric" });
const shortDay = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short" });
const month = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", month: "short", year: "numeric" });

export const number = (n) => whole.format(n);
export const minutes = (n) => `${n.toFixed(1)} min`;

export function bytes(n) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (n >= size) return `${(n / size).toFixed(n < 10 * size ? 1 : 0)} ${unit}`;
  }
  return `${n} B`;
}

export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const two = (n) => String(n).padStart(2, "0");

// clock is hh:mm, with seconds if they say something.
export function clock(unix) {
  const d = new Date(unix * 1000);
  const s = d.getUTCSeconds();
  return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${s ? ":" + two(s) : ""}`;
}

export const date = (unix) => day.format(unix * 1000);
export const dayMonth = (unix) => shortDay.format(unix * 1000);
export const monthYear = (unix) => month.format(unix * 1000);
export function span(start, end) {
  if (end - start < 86400) return `${date(start)}, ${clock(start)}–${clock(end)}`;
  return `${dayMonth(start)} ${clock(start)} – ${dayMonth(end)} ${clock(end)} ${new Date(end * 1000).getUTCFullYear()}`;
}

// moment is a time of the API (RFC 3339) as "1 Mar 09:21:23".
export function moment(text, withDay = true) {
  if (!text) return "–";
  const unix = Date.parse(text) / 1000;
  const d = new Date(unix * 1000);
  if (d.getUTCFullYear() > 9000) return "the end"; // the final watermark
  if (d.getUTCFullYear() < 1900) return "–";
  const time = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
  return withDay ? `${dayMonth(unix)} ${time}` : time;
}
