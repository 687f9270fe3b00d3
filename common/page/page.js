// The status page. What a process reports is set as text, never as markup: titles of markets are written by others.
"use strict";

const STATE_EVERY_MS = 3000, MAP_EVERY_MS = 15000, TYPED_MS = 250;
const at = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (className) made.className = className;
  return made;
}

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok && answer.status !== 503) throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  return answer.json();
}

const shown = (value) =>
  value === null || value === undefined || value === "" ? "–"
    : typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 2 })
    : typeof value === "boolean" ? (value ? "yes" : "no")
    : Array.isArray(value) ? value.map(shown).join(", ")
    : typeof value === "object" ? Object.entries(value).map(([name, one]) => `${name.replaceAll("_", " ")} ${shown(one)}`).join(", ") || "–"
    : value;

// Times and sizes as people write them.
const utc = (ms) => `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")} UTC`;
const UNITS = { bytes: [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]], seconds: [["d", 86400], ["h", 3600], ["min", 60]] };
function inUnits(value, units, least, last) {
  const [unit, size] = units.find(([, one]) => value >= least * one) || [last, 1];
  return `${(value / size).toLocaleString("en", { maximumFractionDigits: 1 })} ${unit}`;
}

// Numbers that name something, and times, are no quantities.
const isQuantity = (column, value) => typeof value === "number" && !/(^lane|pid|_us|^epoch|batch)$/.test(column);
function asCell(column, value) {
  if (typeof value === "string" && /_time$/.test(column)) return value.slice(0, 16);
  if (typeof value !== "number") return shown(value);
  if (/_us$/.test(column) && value > 1e15) return utc(value / 1000);
  if (/(^|_)bytes$/.test(column)) return inUnits(value, UNITS.bytes, 1, "B");
  if (/(^seconds|_s|_seconds)$/.test(column)) return inUnits(value, UNITS.seconds, 2, "s");
  return isQuantity(column, value) ? shown(value) : String(value);
}

function fill(table, rows, columns) {
  const head = element("tr"), body = rows.map((row) => {
    const line = element("tr");
    for (const column of columns) line.append(element("td", asCell(column, row[column]), isQuantity(column, row[column]) ? "number" : ""));
    return line;
  });
  for (const column of columns) head.append(element("th", column.replaceAll("_", " "), rows.some((row) => isQuantity(column, row[column])) ? "number" : ""));
  table.replaceChildren(head, ...body);
}

const isTable = (value) => Array.isArray(value) ? value.length > 0 && value.every((one) => one && typeof one === "object")
  : value && typeof value === "object" && Object.values(value).length > 0 && Object.values(value).every((one) => one && typeof one === "object" && !Array.isArray(one));

function showTables(status) {
  const sections = [], plain = [];
  for (const [name, value] of Object.entries(status)) {
    if (isTable(value)) {
      const rows = Array.isArray(value) ? value : Object.entries(value).map(([key, one]) => ({ "": key, ...one }));
      const section = element("section"), table = element("table");
      section.append(element("h2", name.replaceAll("_", " ")));
      fill(table, rows, [...new Set(rows.flatMap((row) => Object.keys(row)))]);
      section.append(table);
      sections.push(section);
    } else plain.push({ what: name.replaceAll("_", " "), value: asCell(name, value) });
  }
  const section = element("section"), table = element("table");
  section.append(element("h2", "Everything else in /status"));
  fill(table, plain, ["what", "value"]);
  section.append(table);
  at("tables").replaceChildren(...sections, section);
}

async function showState() {
  try {
    const { row, status, parts } = await ask("page/state");
    at("name").textContent = row.process;
    document.title = `${row.process}: ${row.ready === "ready" ? "ready" : "NOT READY"}`;
    at("ready").textContent = row.ready;
    at("ready").className = row.ready === "ready" ? "good" : "bad";
    at("asked").textContent = `asked ${new Date().toISOString().slice(11, 19)} UTC`;
    document.body.classList.remove("stale");
    const items = Object.entries(row).filter(([name, value]) => value !== null && name !== "process" && name !== "ready");
    at("state").replaceChildren(...items.map(([name, value]) => {
      const item = element("div", null, name === "connections" ? "wide" : "");
      item.append(element("dt", name), element("dd", shown(value)));
      return item;
    }));
    showTables(status);
    at("coverage").hidden = !parts.includes("/page/coverage");
    if (parts.includes("/page/markets") && at("markets").hidden) {
      at("markets").hidden = false;
      showMarkets();
      showMap();
    }
  } catch (error) {
    at("ready").textContent = `does not answer (${error.message}); what is below is old`;
    at("ready").className = "bad";
    document.title = `${at("name").textContent}: DOES NOT ANSWER`;
    document.body.classList.add("stale");
  }
  setTimeout(showState, STATE_EVERY_MS);
}

const level = (share, missing) => share === null ? "unknown" : missing === 0 ? "full" : share >= 0.999 ? "most" : share > 0 ? "some" : "none";

function drawMap(map) {
  const hours = element("tr");
  hours.append(element("th"));
  const start = Date.parse(map.start), step = map.bucket_s * 1000, perHour = Math.round(3600000 / step);
  const count = map.rows.length ? map.rows[0].shares.length : 0;
  const first = (perHour - Math.floor(start / step) % perHour) % perHour;
  const spread = (cell, columns) => { cell.colSpan = columns; cell.style.gridColumn = `span ${columns}`; };
  if (first) { const blank = element("td", "", "hour"); spread(blank, first); hours.append(blank); }
  for (let n = first; n < count; n += perHour) {
    const hour = new Date(start + n * step).getUTCHours(), cell = element("td", undefined, "hour");
    cell.append(element("span", String(hour).padStart(2, "0"), hour % 3 ? "wider" : ""));
    spread(cell, Math.min(perHour, count - n));
    hours.append(cell);
  }
  at("map").replaceChildren(hours, ...map.rows.map((row) => {
    const line = element("tr");
    line.append(element("th", row.name.replaceAll("_", " ")));
    row.shares.forEach((share, n) => {
      const cell = element("td", "", level(share, row.missing_ms[n]));
      const when = new Date(start + n * step).toISOString().slice(0, 16).replace("T", " ");
      cell.title = `${row.name}, ${when}: ` + (share === null ? "nothing sealed" : `${(100 * share).toFixed(share < 1 ? 3 : 0)} %, ${(row.missing_ms[n] / 1000).toLocaleString("en")} market-seconds missing`);
      line.append(cell);
    });
    return line;
  }));
}

async function showMap() {
  try {
    const map = await ask("page/coverage");
    if (map.rows) drawMap(map);
    const made = map.made_at ? `made ${map.made_at.slice(0, 19).replace("T", " ")} UTC` : "";
    at("made").textContent = map.error ? [map.error, made && `the map is old: ${made}`].filter(Boolean).join("; ") : made || "being computed …";
    at("made").className = map.error ? "bad-text" : "";
    at("map").classList.toggle("stale", Boolean(map.error));
    setTimeout(showMap, map.computing ? 1000 : MAP_EVERY_MS);
  } catch (error) {
    at("made").textContent = error.message;
    setTimeout(showMap, MAP_EVERY_MS);
  }
}

let asked = 0;
async function showMarkets() {
  const mine = ++asked;
  const query = new URLSearchParams({ search: at("search").value, state: at("wanted").value });
  try {
    const answer = await ask(`page/markets?${query}`);
    if (mine !== asked) return;
    const rows = answer.markets || [];
    at("found").textContent = answer.error || (rows.length === answer.most ? `the first ${answer.most}, by volume` : `${rows.length} found`);
    fill(at("list"), rows, ["ticker", "title", "yes_sub_title", "status", "volume", "close_time"]);
  } catch (error) {
    at("found").textContent = error.message;
  }
}

let typed;
at("search").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(showMarkets, TYPED_MS); });
at("wanted").addEventListener("change", showMarkets);
at("find").addEventListener("submit", (event) => { event.preventDefault(); showMarkets(); });
showState();
