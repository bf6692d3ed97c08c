// The live table follows the event stream. New rows enter at the top; nothing moves while it is paused or being pointed at.
import { duration, timeElement } from "./time.js";

const STALE_MS = 12000;
const OVER_MS = 8000;
const WORDS = { trying: ["…", "trying"], ringing: ["♪", "ringing"], answered: ["✓", "answered", "good"], ended: ["■", "ended"] };
const EVENTS = ["call_create", "caller_ringing", "call_answer", "call_hangup"];

const table = document.getElementById("live");
const body = table.tBodies[0];
const limit = Number(table.dataset.limit);
const pause = document.getElementById("pause");
const filter = document.getElementById("live-filter");
const stream = document.getElementById("stream");
const waiting = document.getElementById("waiting");
let held = [];
let heardAt = Date.now();
let pointed = false;

const source = new EventSource(`/api/v1/events?since=${encodeURIComponent(table.dataset.position)}`);
for (const name of EVENTS) source.addEventListener(name, (event) => { heard(); take(JSON.parse(event.data).call); });
source.addEventListener("reset", () => { heard(); reload(); });
source.addEventListener("alive", heard);
source.addEventListener("open", heard);

pause.addEventListener("click", () => setPaused(!isPaused()));
filter.addEventListener("input", () => { for (const row of body.rows) sift(row); });
body.addEventListener("pointerenter", () => { pointed = true; });
body.addEventListener("pointerleave", () => { pointed = false; release(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "p" && !event.ctrlKey && !event.metaKey && !event.target.matches("input")) setPaused(!isPaused());
});
setInterval(tick, 1000);

function isPaused() { return pause.getAttribute("aria-pressed") === "true"; }

function setPaused(paused) {
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
  release();
}

function heard() { heardAt = Date.now(); }

// Changes wait while the table is held; beyond what fits into it, the whole table is loaded again instead.
function take(call) {
  if (isPaused() || pointed) held.push(call); else apply(call);
  if (held.length > 5 * limit) held = [null];
  tell();
}

function release() {
  if (isPaused() || pointed) return;
  const calls = held;
  held = [];
  if (calls[0] === null) reload(); else calls.forEach(apply);
  tell();
}

function apply(call) {
  const row = rowOf(call.call_id);
  if (call.state === "ended" && !row) return;
  const drawn = draw(call);
  if (row) replace(row, drawn); else body.prepend(drawn);
  if (call.state === "ended") { drawn.classList.add("over"); drawn.dataset.overAt = Date.now(); }
  while (body.rows.length > limit) body.lastElementChild.remove();
}

// The reader's cursor stays where it was.
function replace(row, drawn) {
  const focused = row.contains(document.activeElement);
  if (row.classList.contains("at")) drawn.classList.add("at");
  row.replaceWith(drawn);
  if (focused) drawn.querySelector("a").focus();
}

function rowOf(callId) {
  return [...body.rows].find((row) => row.dataset.call === callId);
}

function draw(call) {
  const row = document.createElement("tr");
  row.dataset.call = call.call_id;
  row.dataset.since = call.invite_at ?? call.first_at;
  const link = document.createElement("a");
  link.href = `/calls/${encodeURIComponent(call.call_id)}`;
  link.append(timeElement(Number(row.dataset.since)));
  const state = document.createElement("span");
  const [sign, word, kind] = WORDS[call.state] ?? ["?", call.state];
  state.className = `state ${kind ?? "unknown"}`;
  state.textContent = `${sign} ${word}`;
  for (const content of [link, state, call.caller, call.callee, "", call.agents.join(", ")]) row.insertCell().append(content);
  row.cells[4].className = "number";
  row.cells[4].dataset.ticks = "";
  age(row);
  sift(row);
  return row;
}

function sift(row) {
  row.hidden = !row.textContent.toLowerCase().includes(filter.value.trim().toLowerCase());
}

function age(row) {
  if (!row.classList.contains("over")) row.cells[4].textContent = duration(Math.max(Date.now() / 1000 - Number(row.dataset.since), 0));
}

function tell() {
  const open = body.querySelectorAll("tr:not(.over)").length;
  document.getElementById("live-count").textContent = open;
  document.getElementById("live-empty").hidden = body.rows.length > 0;
  waiting.textContent = held.length ? `${held.length} change${held.length === 1 ? "" : "s"} waiting` : "";
}

function tick() {
  if (!isPaused()) for (const row of body.rows) age(row);
  if (!isPaused() && !pointed) {
    for (const row of body.querySelectorAll("tr.over")) if (Date.now() - row.dataset.overAt > OVER_MS) row.remove();
    tell();
  }
  const silent = Date.now() - heardAt;
  if (source.readyState === EventSource.CLOSED) stream.textContent = "closed: load the page again";
  else if (source.readyState === EventSource.CONNECTING) stream.textContent = "reconnecting";
  else stream.textContent = silent > STALE_MS ? `stale ${Math.round(silent / 1000)} s` : "live";
}

async function reload() {
  const answer = await fetch(`/api/v1/live?limit=${limit}`);
  if (!answer.ok) return;
  const { calls } = await answer.json();
  body.replaceChildren(...calls.map(draw));
  tell();
}
