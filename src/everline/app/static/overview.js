// The overview: draws the chart from the table below it, and keeps a page that ends now up to date, as on a wall screen.
import { redrawTimes } from "./time.js";

const REFRESH_MS = 30000;
const STILL_MS = 10000; // So long after the pointer or a key was last used, nobody is reading under it.
let chart = null;
let touchedAt = 0;

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
for (const name of ["pointermove", "keydown", "scroll"]) addEventListener(name, () => { touchedAt = Date.now(); }, { passive: true });
setInterval(refresh, REFRESH_MS);

function draw() {
  const canvas = document.getElementById("course");
  if (!canvas || !window.Chart) return;
  canvas.parentElement.hidden = false;
  chart?.destroy();
  const table = document.getElementById("course-table");
  const rows = [...table.tBodies[0].rows];
  const colours = getComputedStyle(document.documentElement);
  const colour = (name) => colours.getPropertyValue(`--${name}`).trim();
  const font = { family: getComputedStyle(document.body).fontFamily, size: parseFloat(getComputedStyle(canvas.parentElement).fontSize) };
  window.Chart.defaults.font = { ...window.Chart.defaults.font, ...font };
  window.Chart.defaults.color = colour("quiet");
  chart = new window.Chart(canvas, {
    type: "bar",
    data: { labels: labelsOf(rows), datasets: datasetsOf(table, rows, colour) },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: { stacked: true, grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 24 } },
        y: { stacked: true, beginAtZero: true, ticks: { precision: 0 }, grid: { color: colour("line") } },
      },
      plugins: { legend: { display: false }, tooltip: { filter: ({ raw }) => raw > 0, itemSort: (a, b) => b.datasetIndex - a.datasetIndex } },
      onClick: (event) => { const link = linkAt(event, rows); if (link) location.href = link.href; },
      onHover: (event) => { canvas.style.cursor = linkAt(event, rows) ? "pointer" : ""; },
    },
  });
}

// The time of day alone, unless the range is longer than a day.
function labelsOf(rows) {
  const times = rows.map((row) => row.querySelector("time"));
  const days = (new Date(times.at(-1).dateTime) - new Date(times[0].dateTime)) / 86400000;
  return times.map((time) => (days > 1 ? time.textContent.slice(5, 16) : time.textContent.slice(11, 16)));
}

function datasetsOf(table, rows, colour) {
  return [...table.tHead.rows[0].cells].slice(1).map((head, index) => ({
    label: head.textContent,
    data: rows.map((row) => Number(row.cells[index + 1].textContent)),
    backgroundColor: colour(head.dataset.colour),
    borderColor: colour("surface"),
    borderWidth: { top: 1 },
    borderSkipped: false,
    categoryPercentage: 1,
    barPercentage: 0.92,
  }));
}

// A slice leads to its calls. What no search can name, and the sky above, lead to all calls of the step.
function linkAt(event, rows) {
  const [slice] = chart.getElementsAtEventForMode(event.native, "nearest", { intersect: true }, false);
  const [step] = chart.getElementsAtEventForMode(event.native, "index", { intersect: false }, false);
  const link = slice && rows[slice.index].cells[slice.datasetIndex + 1].querySelector("a");
  return link ?? (step ? rows[step.index].querySelector("a") : null);
}

async function refresh() {
  const main = document.getElementById("main");
  const isRead = Date.now() - touchedAt < STILL_MS || main.contains(document.activeElement) || main.querySelector("details[open]");
  if (document.hidden || isRead || !main.querySelector("[data-until-now]")) return;
  try {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    if (!fresh?.querySelector(".figures")) return; // Signed out meanwhile: what is shown stays, with its time.
    main.replaceChildren(...fresh.childNodes);
    redrawTimes();
    draw();
  } catch { /* The next round tries again; the times on the page say how old it is. */ }
}
