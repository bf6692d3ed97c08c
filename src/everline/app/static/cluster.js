// "If this dies…" without leaving the page: what the link leads to is fetched and put in place of the map, so that nothing
// moves under the pointer. Without this script the links work as links.
const PARTS = ["map", "if"];
let asked = 0;

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-if], a[data-end]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const isOn = link.getAttribute("aria-current") === "true"; // A second time: ended.
  go(isOn ? "/cluster" : link.href);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.querySelector("[data-end]") && !document.querySelector("dialog[open]")) go("/cluster");
});

addEventListener("popstate", () => show(location.href));

async function go(address) {
  if (await show(address)) history.pushState(null, "", address);
}

// Of several that are asked for at once, the last is shown. What can't be fetched is opened, so that its page says why.
async function show(address) {
  const mine = ++asked;
  let page = null;
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (answer.ok && !answer.redirected) page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch { /* Nobody answers: the browser says it better. */ }
  if (mine !== asked) return false;
  if (!page?.getElementById("map")) { location.assign(address); return false; }
  const focused = document.activeElement?.dataset.if;
  for (const id of PARTS) {
    const part = document.getElementById(id);
    part.className = page.getElementById(id).className;
    part.replaceChildren(...page.getElementById(id).childNodes);
  }
  document.title = page.title;
  if (focused) document.querySelector(`[data-if="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  return true;
}
