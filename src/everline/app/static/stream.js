// The stream of events of a tab. It outlives the node that serves it: what ends, is refused or falls silent is taken up
// again where it stopped, at whichever node answers then. What comes is told to the document as the event "stream".
const SILENT_MS = 3000; // A node says something twice a second.
const FIRST_MS = 200;
const MOST_MS = 3000;
const GROWTH = 1.5; // An address that moves is away for 0.7 s: a page should not sleep much longer.
const SIGNED_OUT_AFTER = 3; // Attempts in vain, before asking whether the session is over.
const TRANSITIONS = ["call_create", "caller_ringing", "call_answer", "call_hangup"];
const NOTICES = ["hello", "alive", "unsure", "reset"];

let position = "";
let source = null;
let node = "";
let unsure = "";
let failures = 0;
let heardAt = 0;
let sureAt = 0;
let retry = 0;
let signedOut = false;

// Begin at a position; once in a page.
export function follow(from) {
  position = from;
  sureAt = Date.now();
  connect();
  setInterval(watch, 500);
}

function connect() {
  retry = 0;
  heardAt = Date.now();
  source = new EventSource(`/api/v1/events?since=${encodeURIComponent(position)}`);
  for (const name of [...TRANSITIONS, ...NOTICES]) source.addEventListener(name, hear);
  source.addEventListener("error", again);
}

function hear(event) {
  const data = JSON.parse(event.data);
  heardAt = Date.now();
  failures = 0;
  unsure = event.type === "unsure" ? data.why : "";
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
  if (!retry && Date.now() - heardAt > SILENT_MS) again();
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
    : retry || source.readyState !== EventSource.OPEN ? `reconnecting, stale ${old}`
    : unsure ? `stale ${old}: ${unsure}`
    : `live from ${node}`;
  if (badge.textContent !== text) badge.textContent = text;
}
