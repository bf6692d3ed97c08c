// What every page has: keys, the clock, the status strip. All pages work without it.
import { follow } from "./stream.js";
import { redrawTimes } from "./time.js";

const PLACES = { o: "/", l: "/live", c: "/calls", q: "/quality", m: "/cluster", f: "/failovers", a: "/admin/users" };
let afterG = false;

for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;
redrawTimes();

const keys = document.getElementById("keys");
document.getElementById("show-keys").addEventListener("click", () => keys.showModal());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || keys.open) return;
  if (afterG && PLACES[event.key]) document.querySelector(`.rail a[data-place="${PLACES[event.key]}"]`)?.click();
  afterG = event.key === "g";
  if (event.key === "/") { event.preventDefault(); document.getElementById("q").focus(); }
  if (event.key === "?") keys.showModal();
  if (event.key === "j" || event.key === "k") moveRow(event.key === "j" ? 1 : -1);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await copy(document.getElementById(button.dataset.copy));
  button.textContent = "Copied";
});

// What opens over the page closes when the reader goes on elsewhere.
const range = document.querySelector(".range");
document.addEventListener("click", (event) => { if (range && !range.contains(event.target)) range.open = false; });
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !range?.open) return;
  range.open = false;
  range.querySelector("summary").focus();
});

document.addEventListener("stream", ({ detail }) => { if (detail.name === "strip") drawStrip(detail.data); });
if (document.body.dataset.topics) follow(document.body.dataset.topics); // Others follow by a script of their own.

function isTyping(element) {
  return element.matches("input, textarea, select");
}

// j and k on rows: move a cursor, and let Enter open its link. A row without a link is read, and has the focus itself.
function moveRow(step) {
  const rows = [...document.querySelectorAll("table.rows tbody tr")].filter((row) => row.offsetParent);
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.classList.contains("at"));
  rows[now]?.classList.remove("at");
  const next = rows[Math.min(Math.max(now + step, 0), rows.length - 1)];
  next.classList.add("at");
  const link = next.querySelector("a");
  if (!link) next.tabIndex = -1;
  (link ?? next).focus();
}

// The clipboard needs https or localhost; elsewhere the text is selected and copied the old way.
async function copy(element) {
  const text = element.textContent;
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  getSelection().selectAllChildren(element);
  document.execCommand("copy");
}

// What the stream says of this node. The strip of a cluster has as many parts as when the page was made, whatever they say.
function drawStrip({ ledger, not_ready: faults, strip }) {
  for (const element of document.querySelectorAll("[data-ledger]")) {
    put(element, ledger[element.dataset.ledger].toLocaleString("en"), element.className);
  }
  const ready = document.querySelector("[data-ready]");
  put(ready, faults.length ? `✕ Not ready: ${faults.join("; ")}` : "✓ Ready", `state ${faults.length ? "bad" : "good"}`);
  document.querySelectorAll("[data-glance]").forEach((element, index) => {
    const { text, state, sign } = strip[index];
    put(element, sign ? `${sign} ${text}` : text, state ? `state ${state}` : "");
  });
}

// Only what has changed: the strip is read out to those who do not see it.
function put(element, text, kind) {
  if (element.textContent !== text) element.textContent = text;
  if (element.className !== kind) element.className = kind;
}
