// The ladder: a click, j or k shows one message; without this script all of them are listed.
const messages = document.getElementById("messages");
const arrows = new Map([...document.querySelectorAll(".ladder a[data-row]")].map((arrow) => [arrow.dataset.row, arrow]));
const known = [...arrows.keys()];
let current = -1;

function show(number, scroll) {
  if (current >= 0) arrows.get(known[current]).classList.remove("at");
  messages.querySelector(".at")?.classList.remove("at");
  current = known.indexOf(number);
  if (current < 0) return;
  arrows.get(number).classList.add("at");
  if (scroll) arrows.get(number).scrollIntoView({ block: "nearest" });
  const message = document.getElementById(`m${number}`);
  message.classList.add("at");
  messages.classList.add("one-message");
}

// Only what the reader chose goes into the address; while the page loads it would make the browser jump.
function choose(number, scroll) {
  show(number, scroll);
  history.replaceState(null, "", `#m${number}`);
}

document.querySelector(".flow").addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#m']");
  if (!link) return;
  event.preventDefault();
  choose(link.getAttribute("href").slice(2), false);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  const step = { j: 1, k: -1 }[event.key];
  if (step && known.length) choose(known[Math.min(Math.max(current + step, 0), known.length - 1)], true);
});

if (known.length) show(/^#m\d+$/.test(location.hash) ? location.hash.slice(2) : known[0], false);
