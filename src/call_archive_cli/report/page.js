"use strict";
// Draws every call of the page, plays one at a time, and listens to clicks and keys.

const SPEEDS = [1, 1.5, 2];
const ZOOM_STEP = 2;
const LANE_HEIGHT = 84;

const calls = JSON.parse(document.getElementById("drawings").textContent).map((drawing) => ({
  ...drawing,
  article: document.getElementById(drawing.id),
}));
let current = null;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function clockText(seconds) {
  const ms = Math.max(0, Math.round(seconds * 1000));
  const [hours, minutes] = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60];
  const rest = `${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}.${String(ms % 1000).padStart(3, "0")}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function axisText(seconds) {
  return clockText(seconds).replace(/\.000$/, "");
}

function mixed(name, percent, ground) {
  return `color-mix(in srgb, ${colour(name)} ${percent}%, ${ground})`;
}

// Opaque: wavesurfer paints the played part through the unplayed one's alpha.
function laneColours(index) {
  const side = `side-${index}`;
  return { waveColor: mixed(side, 50, colour("paper")), progressColor: colour(side) };
}

// The audio becomes a Blob when somebody first listens: a page of many calls opens at once.
async function loadAudio(call) {
  if (call.media.src) return;
  const text = call.article.querySelector(".audio").textContent.trim();
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const source = URL.createObjectURL(new Blob([bytes], { type: "audio/flac" }));
  const wanted = call.wave.getCurrentTime();
  await new Promise((resolve, reject) => {
    call.media.addEventListener("loadedmetadata", resolve, { once: true });
    call.media.addEventListener("error", () => reject(call.media.error), { once: true });
    call.media.src = source;
  });
  call.media.playbackRate = call.speed;
  if (wanted) call.media.currentTime = wanted;
}

function addMarks(call) {
  const colours = { gap: mixed("gap", 28, "transparent"), overlap: colour("overlap"), missing: colour("gap") };
  for (const mark of call.marks) {
    const start = mark.start_ms / 1000;
    const region = call.regions.addRegion({
      start,
      // What was cut, and what never came, has no length in the recording.
      end: mark.kind === "gap" ? start + mark.length_ms / 1000 : start,
      color: colours[mark.kind],
      drag: false,
      resize: false,
      channelIdx: mark.channel !== null && call.peaks.length > 1 ? mark.channel : -1,
    });
    if (region.element) region.element.title = mark.text;
  }
}

function draw(call) {
  call.speed = call.speed || 1;
  call.media = call.media || new Audio();
  call.regions = WaveSurfer.Regions.create();
  const largest = Math.max(0.02, ...call.peaks.map((peaks) => peaks.reduce((a, b) => Math.max(a, b), 0)));
  call.wave = WaveSurfer.create({
    container: call.article.querySelector(".wave"),
    media: call.media,
    peaks: call.peaks,
    duration: call.durationMs / 1000,
    height: LANE_HEIGHT,
    maxPeak: largest,
    normalize: true,
    cursorColor: colour("ink"),
    cursorWidth: 2,
    dragToSeek: true,
    minPxPerSec: call.pixelsPerSecond || 0,
    ...laneColours(0),
    splitChannels: call.peaks.length > 1 ? call.peaks.map((_, index) => laneColours(index)) : undefined,
    plugins: [
      call.regions,
      WaveSurfer.Timeline.create({ height: 18, formatTimeCallback: axisText, style: { color: colour("quiet"), fontSize: "11px" } }),
      WaveSurfer.Hover.create({ lineColor: colour("quiet"), labelBackground: colour("ink"), labelColor: colour("paper"), labelSize: "11px" }),
    ],
  });
  // A region has no place before the length is known.
  call.wave.once("ready", () => addMarks(call));
  call.wave.on("timeupdate", () => showTime(call));
  call.wave.on("seeking", () => showTime(call));
  call.wave.on("interaction", (time) => { choose(call); seek(call, time); });
  call.wave.on("play", () => showPlaying(call, true));
  call.wave.on("pause", () => showPlaying(call, false));
  call.wave.on("finish", () => showPlaying(call, false));
}

function showTime(call) {
  const now = position(call);
  call.article.querySelector(".now").textContent = clockText(now);
  call.article.querySelector(".here").style.left = `${(100000 * now) / call.durationMs}%`;
}

function showPlaying(call, isPlaying) {
  call.article.classList.toggle("playing", isPlaying);
  call.article.querySelector(".play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
}

function position(call) {
  return call.media.src ? call.media.currentTime : call.asked || 0;
}

function choose(call) {
  for (const other of calls) {
    if (other !== call && other.wave.isPlaying()) other.wave.pause();
    other.article.classList.toggle("current", other === call && calls.length > 1);
  }
  current = call;
}

async function seek(call, seconds) {
  const time = Math.min(Math.max(0, seconds), call.durationMs / 1000);
  call.asked = time;
  await loadAudio(call);
  call.wave.setTime(time);
  showTime(call);
}

async function toggle(call) {
  choose(call);
  await loadAudio(call);
  await call.wave.playPause();
}

function changeSpeed(call) {
  call.speed = SPEEDS[(SPEEDS.indexOf(call.speed) + 1) % SPEEDS.length];
  call.wave.setPlaybackRate(call.speed, true);
  call.article.querySelector(".speed").textContent = `${call.speed}×`;
}

function zoom(call, factor) {
  const fits = (call.wave.getWidth() * 1000) / call.durationMs;
  const wanted = Math.max(fits, call.pixelsPerSecond || fits) * factor;
  call.pixelsPerSecond = wanted <= fits ? 0 : Math.min(wanted, 800);
  call.wave.zoom(call.pixelsPerSecond);
}

function toMark(call, direction) {
  const now = position(call) * 1000;
  const times = call.marks.map((mark) => mark.start_ms);
  const wanted = direction > 0
    ? times.find((time) => time > now + 1)
    : times.reverse().find((time) => time < now - 1);
  if (wanted !== undefined) seek(call, wanted / 1000);
}

function toCall(step) {
  const order = [...document.querySelectorAll("article.call")].map((article) => article.id);
  const place = order.indexOf(current.id) + step;
  if (place < 0 || place >= order.length) return;
  const next = calls.find((call) => call.id === order[place]);
  choose(next);
  next.article.scrollIntoView({ block: "nearest" });
  next.article.focus({ preventScroll: true });
}

function listen(call) {
  const find = (selector) => call.article.querySelector(selector);
  find(".play").addEventListener("click", () => toggle(call));
  find(".speed").addEventListener("click", () => changeSpeed(call));
  find(".zoom-in").addEventListener("click", () => zoom(call, ZOOM_STEP));
  find(".zoom-out").addEventListener("click", () => zoom(call, 1 / ZOOM_STEP));
  find(".talks").addEventListener("click", (event) => {
    const box = find(".talks").getBoundingClientRect();
    choose(call);
    seek(call, ((event.clientX - box.left) / box.width) * call.durationMs / 1000);
  });
  for (const button of call.article.querySelectorAll(".marks button")) {
    button.addEventListener("click", () => { choose(call); seek(call, button.dataset.ms / 1000); });
  }
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const isOnButton = event.target.closest("button, summary, a");
  if (event.key === " " && isOnButton) return;
  const now = () => position(current);
  const actions = {
    " ": () => toggle(current),
    ArrowLeft: () => seek(current, now() - (event.shiftKey ? 1 : 5)),
    ArrowRight: () => seek(current, now() + (event.shiftKey ? 1 : 5)),
    Home: () => seek(current, 0),
    End: () => seek(current, current.durationMs / 1000),
    n: () => toMark(current, 1), p: () => toMark(current, -1),
    j: () => toCall(1), k: () => toCall(-1),
    "+": () => zoom(current, ZOOM_STEP), "=": () => zoom(current, ZOOM_STEP), "-": () => zoom(current, 1 / ZOOM_STEP),
    s: () => changeSpeed(current),
    "?": toggleHelp,
  };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = /^[0-9]$/.test(key) ? () => seek(current, (key * current.durationMs) / 10000) : actions[key];
  if (!action) return;
  event.preventDefault();
  action();
}

function toggleHelp() {
  const help = document.getElementById("key-help");
  help.hidden = !help.hidden;
  document.getElementById("keys").setAttribute("aria-expanded", String(!help.hidden));
}

function redraw() {
  for (const call of calls) {
    call.wave.setOptions({
      cursorColor: colour("ink"),
      ...laneColours(0),
      splitChannels: call.peaks.length > 1 ? call.peaks.map((_, index) => laneColours(index)) : undefined,
    });
    call.regions.clearRegions();
    addMarks(call);
  }
}

function changeTheme(button) {
  const root = document.documentElement;
  const next = { undefined: "dark", dark: "light", light: undefined }[root.dataset.theme];
  if (next) root.dataset.theme = next; else delete root.dataset.theme;
  button.textContent = `Theme: ${next || "auto"}`;
  redraw();
}

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const keyOf = (row) => row.children[column].dataset.key ?? row.children[column].textContent;
  const compare = (a, b) => (isNaN(a) || isNaN(b) || a === "" || b === "" ? String(a).localeCompare(String(b)) : a - b);
  const rows = [...table.tBodies[0].rows].sort((a, b) => sign * compare(keyOf(a), keyOf(b)));
  table.tBodies[0].append(...rows);
  document.querySelector("main").append(...rows.map((row) => document.getElementById(row.dataset.call)));
}

for (const call of calls) { draw(call); listen(call); }
if (calls.length) choose(calls[0]);
document.addEventListener("keydown", onKey);
document.getElementById("keys").addEventListener("click", toggleHelp);
document.getElementById("theme").addEventListener("click", (event) => changeTheme(event.currentTarget));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
for (const header of document.querySelectorAll(".calls th")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}
for (const row of document.querySelectorAll(".calls tbody tr")) {
  row.addEventListener("click", (event) => {
    if (event.target.closest("a")) return;
    const call = calls.find((found) => found.id === row.dataset.call);
    choose(call);
    call.article.scrollIntoView();
  });
}
