// The live table follows the event stream. New rows enter at the top; nothing moves while it is paused or being pointed at.
import { follow } from "./stream.js";
import { duration, timeElement, visible } from "./time.js";

const LOAD_AGAIN_MS = 1000;
const SWEEP_MS = 15000;
const OVER_MS = 8000;
const WORDS = { trying: ["…", "trying"], ringing: ["♪", "ringing"], answered: ["✓", "answered", "good"], ended: ["■", "ended"] };

const table = document.getElementById("live");
const body = table.tBodies[0];
const limit = Number(table.dataset.limit);
const pause = document.getElementById("pause");
const filter = document.getElementById("live-filter");
const waiting = document.getElementById("waiting");
let aheadS = Date.now() / 1000 - Number(table.dataset.now); // Of this clock to the server's: durations are by that.
let held = [];
let loading = false;
let isMissed = false;
let pointed = false;

document.addEventListener("stream", ({ detail }) => {
  if (detail.name === "reset") load(renew); else if (detail.data.call) take(detail.data.call);
});
follow("calls,strip", table.dataset.position);

pause.addEventListener("click", () => setPaused(!isPaused()));
filter.addEventListener("input", () => { for (const row of body.rows) sift(row); });
body.addEventListener("pointerenter", () => { pointed = true; });
body.addEventListener("pointerleave", () => { pointed = false; release(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "p" && !event.ctrlKey && !event.metaKey && !event.target.matches("input")) setPaused(!isPaused());
});
setInterval(tick, 1000);
setInterval(() => { if (!isHeld() && !document.hidden) load(sweep); }, SWEEP_MS);

function isPaused() { return pause.getAttribute("aria-pressed") === "true"; }

function setPaused(paused) {
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
  release();
}

function isHeld() { return isPaused() || pointed || loading; }

// Changes wait while the table is held; beyond what fits into it, the whole table is loaded again instead.
function take(call) {
  if (isHeld()) held.push(call); else apply(call);
  if (held.length > 5 * limit) held = [null];
  tell();
}

function release() {
  if (isHeld()) return;
  const calls = held;
  held = [];
  if (calls[0] === null) load(renew); else calls.forEach(apply);
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
  for (const content of [link, state, ...[call.caller, call.callee, "", call.agents.join(", ")].map(visible)]) row.insertCell().append(content);
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
  if (!row.classList.contains("over")) row.cells[4].textContent = duration(Math.max(Date.now() / 1000 - aheadS - Number(row.dataset.since), 0));
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
}

// The calls in progress, asked until there is an answer. What is told meanwhile is newer than that, and is applied to it.
async function load(put) {
  if (loading) { isMissed ||= put === renew; return; }
  loading = true;
  let calls = null;
  while (!calls) {
    isMissed = false;
    calls = await ask();
    if (isMissed) { put = renew; calls = null; }
  }
  put(calls);
  loading = false;
  release();
  tell();
}

async function ask() {
  try {
    const answer = await fetch(`/api/v1/live?limit=${limit}`, { signal: AbortSignal.timeout(5 * LOAD_AGAIN_MS) });
    if (answer.ok) {
      const { calls, now } = await answer.json();
      aheadS = Date.now() / 1000 - now;
      return calls;
    }
  } catch { /* Nobody answers; the badge says it. */ }
  await new Promise((done) => { setTimeout(done, LOAD_AGAIN_MS); });
  return null;
}

function renew(calls) { body.replaceChildren(...calls.map(draw)); }

// A challenge is told neither as an end nor, when the caller tries again, as a beginning: what is live then is asked.
function sweep(calls) {
  for (const call of calls.toReversed()) if (!rowOf(call.call_id)) apply(call);
  if (calls.length === limit) return; // There are more, which may be in the table.
  const live = new Set(calls.map((call) => call.call_id));
  for (const row of body.querySelectorAll("tr:not(.over)")) if (!live.has(row.dataset.call)) row.remove();
}
