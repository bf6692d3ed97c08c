// Times and durations as the reader wants them.

const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\u{e0000}-\u{e0fff}]/gu;
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

// A stranger's text with a sign for each character that has no shape or turns others around, as the server shows it.
export function visible(text) {
  return text.replace(UNSEEN, (one) => {
    const number = one.codePointAt(0);
    if (number < 0x20) return String.fromCodePoint(0x2400 + number);
    return number === 0x7f ? "␡" : `[U+${number.toString(16).toUpperCase().padStart(4, "0")}]`;
  });
}
