// Cluster and failovers: what is new in the failover log since the page was made is offered, and shown when it is asked for.
const news = document.getElementById("news");
let known = news.dataset.known === undefined ? null : new Set(news.dataset.known.split(" "));
const fresh = new Map();

document.addEventListener("stream", ({ detail }) => {
  if (detail.name !== "failovers") return;
  const { entries } = detail.data;
  known ??= new Set(entries.map((one) => one.entry_id)); // A page that has no log begins with what is there.
  for (const one of entries) if (!known.has(one.entry_id)) fresh.set(one.entry_id, one);
  if (fresh.size) tell();
});

function tell() {
  const last = [...fresh.values()].at(-1);
  const link = news.querySelector("a");
  link.textContent = `New: ${last.kind.replaceAll("_", " ")} ${last.node}${fresh.size > 1 ? ` and ${fresh.size - 1} more` : ""}. Show it`;
  link.href = location.href;
  news.hidden = false;
}
