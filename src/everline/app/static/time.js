// Times and durations as the reader wants them.

const two = (n) => String(n).padStart(2, "0");

// A moment as YYYY-MM-DD HH:MM:SS, in UTC or on the reader's own clock.
export function moment(date) {
  const local = document.documentElement.dataset.clock === "local";
  const at = local ? new Date(date.getTime() - date.getTimezoneOffset() * 60000) : date;
  return at.toISOString().slice(0, 19).replace("T", " ");
}

// Seconds as `85 ms`, `3.2 s`, `4 m 10 s` or `2 h 05 m`.
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} m ${two(whole % 60)} s` : `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
}

export function timeElement(seconds) {
  const element = document.createElement("time");
  const date = new Date(seconds * 1000);
  element.dateTime = date.toISOString();
  element.textContent = moment(date);
  return element;
}

export function redrawTimes() {
  if (document.documentElement.dataset.clock !== "local") return;
  for (const element of document.querySelectorAll("time[data-time]")) element.textContent = moment(new Date(element.dateTime));
}
