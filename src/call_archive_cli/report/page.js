// The page: one call is open. It is what is seen, what is played, and what the keys act on.

const ZOOM_STEP = 2;
const SPOKEN_EVERY_MS = 15000;
const MARK_NAMES = { lost: "lost audio", gap: "gap", overlap: "came twice" };

const find = (id) => document.getElementById(id);
const json = (id) => JSON.parse(find(id).textContent);

const rows = json("rows");
const wave = new Waveform(find("seek"), document.querySelector(".talks"));
const player = new Player();
const list = document.querySelector(".list") && new CallList(document.querySelector(".list"), rows, {
  open: (row) => { open(row); focusCall(); },
  play: (row) => { if (!current || current.id !== row.id) open(row); toggle(); },
});
let current = null;
let spokenMs = -1;

function swatch(name) {
  return make("i", { className: `swatch ${name}` });
}

function open(row) {
  current = { ...row, ...json(`facts-${row.id}`) };
  player.open(current);
  wave.open(current, embedded(`peaks-${row.id}`));
  find("call-title").replaceChildren(...idElements(current.title));
  find("started").textContent = current.startedAt
    ? `${utcText(current.startedAt)} UTC (here: ${localText(current.startedAt, true)}) · ` : "";
  find("length").textContent = clockText(current.durationMs);
  find("duration").textContent = clockText(current.durationMs);
  Object.assign(find("badge"), { textContent: current.badge, className: `badge ${current.state}` });
  find("summary").textContent = current.summary ? `· ${current.summary}` : "";
  Object.assign(find("statement"), { textContent: current.statement, className: `statement ${current.state}` });
  showLegend();
  showSides();
  showMarks();
  showManifest();
  showPlayer();
  list?.select(current.id);
  history.replaceState(null, "", `#${current.id}`);
  update();
}

function focusCall() {
  find("call").focus({ preventScroll: true });
  find("call").scrollIntoView({ block: "nearest" });
}

function showLegend() {
  const sides = current.sides.map((side, index) => make("span", {}, swatch(`side-${index}`), side.name));
  const kinds = Object.keys(MARK_NAMES).filter((kind) => current.marks.some((mark) => mark.kind === kind));
  find("legend").replaceChildren(...sides, ...kinds.map((kind) => make("span", {}, swatch(kind), MARK_NAMES[kind])));
}

function showSides() {
  const cell = (text) => make("td", { className: "number", textContent: text });
  const head = (...content) => { const th = make("th", {}, ...content); th.scope = "row"; return th; };
  const lines = current.sides.map((side, index) => make("tr", {}, head(swatch(`side-${index}`), side.name),
    cell(`${side.talkPercent} %`), cell(side.speech), cell(side.peak), cell(side.clipped || "")));
  if (current.sides.length > 1) lines.push(make("tr", {}, head("both at once"), cell(`${current.bothPercent} %`)));
  lines.push(make("tr", {}, head("silence"), cell(`${current.silencePercent} %`)));
  document.querySelector(".sides tbody").replaceChildren(...lines);
  const words = current.sides.map((side) => `${side.name} ${side.talkPercent} %`).join(", ");
  document.querySelector(".talks").setAttribute("aria-label", `Who talks when: ${words}, silence ${current.silencePercent} %`);
}

function showMarks() {
  find("marks").hidden = current.marks.length === 0;
  find("marks").replaceChildren(...current.marks.map((mark) => {
    const button = make("button", { type: "button", textContent: mark.text });
    button.addEventListener("click", () => seek(mark.start_ms));
    return make("li", { className: mark.kind }, button);
  }));
}

function showManifest() {
  const isThere = current.lines.length > 0;
  find("manifest").hidden = !isThere;
  find("manifest").open = current.state !== "complete" || rows.length === 1;
  find("manifest").querySelector("summary").textContent =
    current.state === "different" ? "Manifest (not of this file)" : "Manifest";
  document.querySelector(".manifest").replaceChildren(...current.lines.map(([heading, text]) =>
    make("div", {}, make("dt", { textContent: heading }), make("dd", { textContent: text }))));
}

function showPlayer() {
  const isStereo = current.sides.length > 1;
  document.querySelector(".voices").hidden = !isStereo;
  showVoices();
  const isOnDisk = Boolean(current.audio.src) && location.protocol === "file:";
  find("audio-note").textContent = [
    current.audio.note,
    isOnDisk ? `The recording is ${current.audio.src}, in the folder of this page.` : "",
  ].filter(Boolean).join(" ");
  find("choice").hidden = !isOnDisk || !isStereo;
  find("chosen").value = "";
  find("download").hidden = isOnDisk || current.audio.type === "audio/ogg";
  find("playing-title").textContent = shortName(current);
  say("");
}

function showVoices() {
  find("voices").disabled = !player.canRoute;
  find("mutes").replaceChildren(...(current.sides.length > 1 ? current.sides.map((side, index) => muteButton(side, index)) : []));
}

// What a page on the disk may not read itself, a person can give it.
function choose(file) {
  if (!file) return;
  if (file.size !== current.audio.bytes) {
    say(`This is another file: it has ${file.size} bytes, the recording has ${current.audio.bytes}`);
    return;
  }
  player.use(file);
  find("choice").hidden = true;
  showVoices();
  update();
}

function muteButton(side, index) {
  const button = make("button", { type: "button", disabled: !player.canRoute }, swatch(`side-${index}`), "mute");
  button.setAttribute("aria-label", `Mute ${side.name}`);
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const isMuted = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(isMuted));
    player.mute(index, isMuted);
  });
  return button;
}

function say(text) {
  find("message").textContent = text;
}

// What is shown of the place and of play and pause; the slider's words change when somebody could
// want to hear them, not with every frame.
function update() {
  if (!current) return;
  const now = Math.min(player.nowMs, current.durationMs);
  find("now").textContent = clockText(now);
  document.querySelector(".player").classList.toggle("playing", player.isPlaying);
  find("play").setAttribute("aria-label", `${player.isPlaying ? "Pause" : "Play"} call of ${shortName(current)}`);
  wave.show(now);
  if (!player.isPlaying || Math.abs(now - spokenMs) >= SPOKEN_EVERY_MS) {
    spokenMs = now;
    find("seek").setAttribute("aria-valuemax", Math.round(current.durationMs / 1000));
    find("seek").setAttribute("aria-valuenow", Math.round(now / 1000));
    find("seek").setAttribute("aria-valuetext", `${spoken(now)} of ${spoken(current.durationMs)}`);
  }
}

function spoken(ms) {
  const parts = [[3600, "hour"], [60, "minute"], [1, "second"]];
  let rest = Math.round(ms / 1000);
  const words = [];
  for (const [length, name] of parts) {
    const number = Math.floor(rest / length);
    rest %= length;
    if (number || (length === 1 && !words.length)) words.push(`${number} ${name}${number === 1 ? "" : "s"}`);
  }
  return words.join(" ");
}

function eachFrame() {
  if (player.isPlaying) {
    update();
    requestAnimationFrame(eachFrame);
  }
}

async function toggle() {
  try {
    await player.toggle();
  } catch (error) {
    if (error?.name === "AbortError") return;
    say(`This browser cannot play the audio: ${error?.message || "unknown reason"}`);
  }
}

function seek(ms) {
  player.seek(ms);
  update();
}

function toMark(direction) {
  const times = current.marks.map((mark) => mark.start_ms);
  const now = player.nowMs;
  const wanted = direction > 0 ? times.find((time) => time > now + 1) : times.findLast((time) => time < now - 1);
  if (wanted !== undefined) seek(wanted);
}

function toCall(step) {
  const row = list?.beside(current.id, step);
  if (row) { open(row); focusCall(); }
}

function changeSpeed(step) {
  const select = find("speed");
  select.selectedIndex = Math.min(select.options.length - 1, Math.max(0, select.selectedIndex + step));
  select.dispatchEvent(new Event("change"));
  say(`Speed ${select.value}`);
}

function changeSound() {
  player.media.muted = !player.media.muted;
  say(player.media.muted ? "Sound off" : "Sound on");
}

async function copyLink() {
  const moment = `#${current.id}&t=${(player.nowMs / 1000).toFixed(1)}`;
  history.replaceState(null, "", moment);
  try {
    await navigator.clipboard.writeText(location.href);
    say(`Copied: ${clockText(player.nowMs)}`);
  } catch {
    say(`The address of this page now ends with ${moment}`);
  }
}

async function download() {
  const { src, fileName } = current.audio;
  const link = make("a", { href: src, download: fileName });
  if (!src) link.href = URL.createObjectURL(new Blob([await wavOf(current)], { type: "audio/wav" }));
  link.click();
  if (!src) setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// #t=83.2 or #call-…&t=83.2
function followLink() {
  const [id, moment] = location.hash.slice(1).split(/&?t=/);
  const row = rows.find((one) => one.id === id) || (current ? null : rows[0]);
  if (row && row.id !== current?.id) open(row);
  if (moment && Number.isFinite(Number(moment))) seek(Number(moment) * 1000);
}

const KEYS = {
  " ": toggle, k: toggle,
  ArrowLeft: (event) => seek(player.nowMs - (event.shiftKey ? 1000 : 5000)),
  ArrowRight: (event) => seek(player.nowMs + (event.shiftKey ? 1000 : 5000)),
  j: () => seek(player.nowMs - 10000), l: () => seek(player.nowMs + 10000),
  Home: () => seek(0), End: () => seek(current.durationMs),
  n: (event) => (event.shiftKey ? toCall(1) : toMark(1)), p: (event) => (event.shiftKey ? toCall(-1) : toMark(-1)),
  "+": () => wave.zoom(ZOOM_STEP), "=": () => wave.zoom(ZOOM_STEP), "-": () => wave.zoom(1 / ZOOM_STEP),
  "<": () => changeSpeed(-1), ">": () => changeSpeed(1),
  m: changeSound,
  "/": () => find("search")?.focus(),
  "?": toggleHelp,
};
const SLIDER_KEYS = {
  ArrowLeft: KEYS.ArrowLeft, ArrowRight: KEYS.ArrowRight, ArrowDown: KEYS.ArrowLeft, ArrowUp: KEYS.ArrowRight,
  PageDown: () => seek(player.nowMs - 60000), PageUp: () => seek(player.nowMs + 60000), Home: KEYS.Home, End: KEYS.End,
};

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || !current) return;
  const { target } = event;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const onSlider = target.closest("#seek") && SLIDER_KEYS[key];
  if (onSlider) { event.preventDefault(); onSlider(event); return; }
  // What has the focus keeps the keys that are its own.
  if (target.closest("select, input:not([type=checkbox]):not([type=range])")) {
    if (key === "Escape") target.blur();
    return;
  }
  if (target.closest("button, a, summary, input") && [" ", "Enter"].includes(key)) return;
  if (target.closest("input[type=range]") && /^(Arrow|Home|End|Page)/.test(key)) return;
  if (target.closest(".scroll") && ["Home", "End"].includes(key)) return;
  if (!find("use-keys").checked) return;
  const action = /^[0-9]$/.test(key) ? () => seek((key * current.durationMs) / 10) : KEYS[key];
  if (!action) return;
  event.preventDefault();
  action(event);
}

function toggleHelp() {
  find("key-help").hidden = !find("key-help").hidden;
  find("keys").setAttribute("aria-expanded", String(!find("key-help").hidden));
}

function redraw() {
  wave.readColours();
  wave.draw();
}

function changeTheme() {
  const root = document.documentElement;
  const next = { undefined: "dark", dark: "light", light: undefined }[root.dataset.theme];
  if (next) root.dataset.theme = next; else delete root.dataset.theme;
  find("theme").textContent = `Theme: ${next || "auto"}`;
  redraw();
}

// On paper: every row, the manifest, light colours.
function onPrint(event) {
  if (!event.matches) { redraw(); return; }
  list?.fill(Infinity);
  find("manifest").open = true;
  wave.spanMs = current.durationMs;
  wave.startMs = 0;
  redraw();
}

function remember(key, box) {
  // A page from a file may have no storage.
  try { if (localStorage.getItem(key) === "off") box.checked = false; } catch { return; }
  box.addEventListener("change", () => { try { localStorage.setItem(key, box.checked ? "on" : "off"); } catch { /* none */ } });
}

function listenToPointer() {
  const seekTo = (event) => seek(wave.msAt(event.clientX));
  const slider = find("seek");
  let isDragged = false;
  slider.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    isDragged = true;
    slider.setPointerCapture(event.pointerId);
    seekTo(event);
  });
  slider.addEventListener("pointermove", (event) => {
    if (isDragged) seekTo(event);
    if (event.pointerType !== "touch") wave.showTip(event.clientX);
  });
  for (const name of ["pointerup", "pointercancel"]) slider.addEventListener(name, () => { isDragged = false; });
  slider.addEventListener("pointerleave", () => { wave.tip.hidden = true; });
  slider.addEventListener("wheel", (event) => {
    if (event.ctrlKey) { event.preventDefault(); wave.zoom(event.deltaY < 0 ? 1.25 : 0.8); return; }
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (!sideways || wave.isWhole()) return;
    event.preventDefault();
    wave.moveTo(wave.startMs + (sideways / slider.clientWidth) * wave.spanMs);
  }, { passive: false });
  const talks = document.querySelector(".talks");
  talks.addEventListener("click", (event) => {
    const box = talks.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * current.durationMs);
  });
  // After a click with the mouse, Space plays: the focus does not stay on what was clicked.
  document.addEventListener("click", (event) => {
    const button = event.detail > 0 && event.target.closest?.("button");
    if (button && !button.closest(".tools, thead")) find("call").focus({ preventScroll: true });
  });
}

find("play").addEventListener("click", toggle);
for (const button of document.querySelectorAll("[data-jump]")) {
  button.addEventListener("click", () => seek(player.nowMs + button.dataset.jump * 1000));
}
find("speed").addEventListener("change", (event) => player.setSpeed(Number(event.target.value)));
find("volume").addEventListener("input", (event) => { player.media.volume = event.target.value / 100; });
find("voices").addEventListener("change", (event) => player.setVoices(event.target.value));
find("chosen").addEventListener("change", (event) => choose(event.target.files[0]));
find("zoom-in").addEventListener("click", () => wave.zoom(ZOOM_STEP));
find("zoom-out").addEventListener("click", () => wave.zoom(1 / ZOOM_STEP));
find("zoom-all").addEventListener("click", () => wave.zoom(1 / current.durationMs));
find("link").addEventListener("click", copyLink);
find("download").addEventListener("click", download);
find("keys").addEventListener("click", toggleHelp);
find("theme").addEventListener("click", changeTheme);
player.addEventListener("change", () => { update(); requestAnimationFrame(eachFrame); });
find("seek").addEventListener("focus", () => { spokenMs = -Infinity; update(); });
document.addEventListener("keydown", onKey);
addEventListener("hashchange", followLink);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
matchMedia("print").addEventListener("change", onPrint);
addEventListener("beforeprint", () => onPrint({ matches: true }));
remember("call-archive-keys", find("use-keys"));
listenToPointer();
followLink();
