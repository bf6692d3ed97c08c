// The stream of events of a tab. It outlives the node that serves it: what ends, is refused or falls silent is taken up
// again where it stopped, at whichever node answers then. What comes is told to the document as the event "stream".
// A page has one, for all that it wants to hear of. One that follows no calls rests while its tab is hidden: a browser has
// few connections to a host, and what such a page missed is told when it begins again.
const SILENT_MS = 3000; // A node says something twice a second.
const FIRST_MS = 200;
const MOST_MS = 3000;
const GROWTH = 1.5; // An address that moves is away for 0.7 s: a page should not sleep much longer.
const SIGNED_OUT_AFTER = 3; // Attempts in vain, before asking whether the session is over.
const TRANSITIONS = ["call_create", "caller_ringing", "call_answer", "call_hangup"];
const NOTICES = ["hello", "alive", "unsure", "reset"];
const TOPICS = ["strip", "failovers"]; // Their news come under their own names, and say nothing of live calls.

let topics = "";
let position = "";
let source = null;
let node = "";
let unsure = "";
let failures = 0;
let heardAt = 0;
let sureAt = 0;
let retry = 0;
let signedOut = false;

// Begin, with calls at a position; once in a page.
export function follow(wanted, from = "") {
  topics = wanted;
  position = from;
  sureAt = Date.now();
  if (!topics.split(",").includes("calls")) document.addEventListener("visibilitychange", restOrGoOn);
  if (isResting()) restOrGoOn(); else connect();
  setInterval(watch, 500);
}

function connect() {
  retry = 0;
  heardAt = Date.now();
  source = new EventSource(`/api/v1/events?topics=${encodeURIComponent(topics)}&since=${encodeURIComponent(position)}`);
  for (const name of [...TRANSITIONS, ...NOTICES, ...TOPICS]) source.addEventListener(name, hear);
  source.addEventListener("error", again);
}

function isResting() { return document.hidden && !topics.split(",").includes("calls"); }

function restOrGoOn() {
  clearTimeout(retry);
  retry = 0;
  source?.close();
  source = null;
  if (!isResting()) connect();
  show();
}

function hear(event) {
  const data = JSON.parse(event.data);
  heardAt = Date.now();
  failures = 0;
  if (!TOPICS.includes(event.type)) unsure = event.type === "unsure" ? data.why : "";
  if (!unsure && event.type !== "hello") sureAt = heardAt;
  if (event.type === "hello") node = data.node;
  if (event.lastEventId) position = event.lastEventId;
  document.dispatchEvent(new CustomEvent("stream", { detail: { name: event.type, id: event.lastEventId, data, node } }));
  show();
}

// The browser's own way to reconnect gives up at the first 502, and never leaves a node that hangs.
function again() {
  source.close();
  if (retry) return;
  failures += 1;
  const most = Math.min(MOST_MS, FIRST_MS * GROWTH ** (failures - 1));
  retry = setTimeout(connect, Math.random() * most);
  if (failures >= SIGNED_OUT_AFTER) askForSession();
  show();
}

function watch() {
  if (source && !retry && Date.now() - heardAt > SILENT_MS) again();
  show();
}

async function askForSession() {
  try {
    signedOut = (await fetch("/api/v1/node", { cache: "no-store", signal: AbortSignal.timeout(SILENT_MS) })).status === 401;
  } catch { /* Nobody answers: that is no sign of it. */ }
}

function show() {
  const badge = document.getElementById("stream");
  const old = `${Math.round((Date.now() - sureAt) / 1000)} s`;
  const text = signedOut ? "signed out: load the page again"
    : !source ? "resting while this tab is hidden"
    : retry || source.readyState !== EventSource.OPEN ? `reconnecting, stale ${old}`
    : unsure ? `stale ${old}: ${unsure}`
    : `live from ${node}`;
  if (badge.textContent !== text) badge.textContent = text;
}
