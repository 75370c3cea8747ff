"use strict";
// Draws the call that is open: what of its waveforms is on the screen, its marks, and who talks when.

const LANE_PX = 84;
const LANE_GAP_PX = 8;
const AXIS_PX = 22;
const TALK_PX = 8;
const SHORTEST_SPAN_MS = 1500;
const COARSER = 4;
const STEPS_MS = [100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 900000, 1800000, 3600000];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function clockText(ms) {
  const whole = Math.max(0, Math.round(ms));
  const [hours, minutes] = [Math.floor(whole / 3600000), Math.floor(whole / 60000) % 60];
  const rest = `${String(Math.floor(whole / 1000) % 60).padStart(2, "0")}.${String(whole % 1000).padStart(3, "0")}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

// Peaks at every resolution: each level holds the maxima of four columns of the one before.
function peakLevels(finest) {
  const levels = [finest];
  while (levels.at(-1).length > 1000) {
    const fine = levels.at(-1);
    const coarse = new Uint8Array(Math.ceil(fine.length / COARSER));
    for (let i = 0; i < fine.length; i += 1) {
      const at = Math.floor(i / COARSER);
      if (fine[i] > coarse[at]) coarse[at] = fine[i];
    }
    levels.push(coarse);
  }
  return levels;
}

class Waveform {
  constructor(wave, talks) {
    this.wave = wave;
    this.canvas = wave.querySelector("canvas");
    this.tip = wave.querySelector(".tip");
    this.talks = talks;
    this.talksCanvas = talks.querySelector("canvas");
    this.call = null;
    this.nowMs = 0;
    this.startMs = 0;
    this.spanMs = 1;
    this.readColours();
    new ResizeObserver(() => this.draw()).observe(wave);
  }

  readColours() {
    const names = ["paper", "ground", "ink", "quiet", "line", "gap", "overlap", "side-0", "side-1", "rest-0", "rest-1"];
    this.colours = Object.fromEntries(names.map((name) => [name, colour(name)]));
  }

  open(call, peaks) {
    this.call = call;
    const columns = peaks.length / call.sides.length;
    this.levels = call.sides.map((_, side) => peakLevels(peaks.subarray(side * columns, (side + 1) * columns)));
    this.startMs = 0;
    this.spanMs = call.durationMs;
    this.nowMs = 0;
    this.canvas.style.height = `${this.lanesPx() + AXIS_PX}px`;
    this.talksCanvas.style.height = `${call.sides.length * (TALK_PX + 2)}px`;
    this.draw();
  }

  lanesPx() {
    return this.call.sides.length * (LANE_PX + LANE_GAP_PX);
  }

  isWhole() {
    return this.spanMs >= this.call.durationMs;
  }

  // The window keeps the place that is played where it is on the screen, or in its middle.
  zoom(factor) {
    const { durationMs } = this.call;
    const span = Math.min(durationMs, Math.max(Math.min(SHORTEST_SPAN_MS, durationMs), this.spanMs / factor));
    const isSeen = this.nowMs >= this.startMs && this.nowMs <= this.startMs + this.spanMs;
    const share = isSeen ? (this.nowMs - this.startMs) / this.spanMs : 0.5;
    this.spanMs = span;
    this.moveTo(this.nowMs - share * span);
  }

  moveTo(startMs) {
    this.startMs = Math.max(0, Math.min(startMs, this.call.durationMs - this.spanMs));
    this.draw();
  }

  show(nowMs) {
    this.nowMs = nowMs;
    const isSeen = nowMs >= this.startMs && nowMs <= this.startMs + this.spanMs;
    if (!isSeen) this.startMs = Math.max(0, Math.min(nowMs - this.spanMs / 20, this.call.durationMs - this.spanMs));
    this.draw();
  }

  msAt(clientX) {
    const box = this.canvas.getBoundingClientRect();
    return this.startMs + ((clientX - box.left) / box.width) * this.spanMs;
  }

  xAt(ms, width) {
    return ((ms - this.startMs) / this.spanMs) * width;
  }

  draw() {
    if (!this.call) return;
    const context = this.fit(this.canvas);
    const { width } = this.canvas.getBoundingClientRect();
    this.call.sides.forEach((_, side) => this.drawLane(context, side, width));
    for (const mark of this.call.marks) this.drawMark(context, mark, width);
    this.drawAxis(context, width);
    context.fillStyle = this.colours.ink;
    context.fillRect(this.xAt(this.nowMs, width) - 1, 0, 2, this.lanesPx());
    this.drawTalks();
  }

  fit(canvas) {
    const box = canvas.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    return context;
  }

  drawLane(context, side, width) {
    const middle = side * (LANE_PX + LANE_GAP_PX) + LANE_PX / 2;
    const scale = window.devicePixelRatio || 1;
    const pixels = Math.max(1, Math.round(width * scale));
    const perPixel = (this.spanMs / 1000) * this.call.columnsPerS / pixels;
    let level = 0;
    while (level + 1 < this.levels[side].length && COARSER ** (level + 1) <= perPixel) level += 1;
    const peaks = this.levels[side][level];
    const columnsPerMs = this.call.columnsPerS / 1000 / COARSER ** level;
    const heights = new Float32Array(pixels + 1);
    for (let x = 0; x <= pixels; x += 1) {
      const from = (this.startMs + (x / pixels) * this.spanMs) * columnsPerMs;
      const to = (this.startMs + ((x + 1) / pixels) * this.spanMs) * columnsPerMs;
      heights[x] = to - from >= 1 ? this.largest(peaks, from, to) : this.between(peaks, from - 0.5);
    }
    const path = new Path2D();
    const tallest = LANE_PX / 2 - 1;
    for (let x = 0; x <= pixels; x += 1) path.lineTo(x / scale, middle - Math.max(0.5, (heights[x] / 255) * tallest));
    for (let x = pixels; x >= 0; x -= 1) path.lineTo(x / scale, middle + Math.max(0.5, (heights[x] / 255) * tallest));
    path.closePath();
    context.fillStyle = this.colours[`rest-${side}`];
    context.fill(path);
    context.save();
    context.beginPath();
    context.rect(0, middle - LANE_PX / 2, Math.max(0, this.xAt(this.nowMs, width)), LANE_PX);
    context.clip();
    context.fillStyle = this.colours[`side-${side}`];
    context.fill(path);
    context.restore();
  }

  largest(peaks, from, to) {
    let found = 0;
    for (let i = Math.max(0, Math.floor(from)); i < Math.min(peaks.length, Math.ceil(to)); i += 1) {
      if (peaks[i] > found) found = peaks[i];
    }
    return found;
  }

  between(peaks, at) {
    const left = Math.floor(at);
    const [a, b] = [peaks[Math.max(0, left)] || 0, peaks[Math.min(peaks.length - 1, left + 1)] || 0];
    return a + (b - a) * (at - left);
  }

  drawMark(context, mark, width) {
    const [from, to] = [this.xAt(mark.start_ms, width), this.xAt(mark.start_ms + mark.length_ms, width)];
    if (to < 0 || from > width) return;
    const hue = mark.kind === "overlap" ? this.colours.overlap : this.colours.gap;
    for (const side of mark.channels) {
      const top = side * (LANE_PX + LANE_GAP_PX);
      context.fillStyle = hue;
      if (mark.kind === "overlap" || mark.length_ms === 0) {
        for (let y = 0; y < LANE_PX; y += mark.length_ms === 0 ? 8 : LANE_PX) {
          context.fillRect(from - 1, top + y, 2, mark.length_ms === 0 ? 5 : LANE_PX);
        }
        continue;
      }
      const wide = Math.max(2, to - from);
      context.globalAlpha = 0.22;
      context.fillRect(from, top, wide, LANE_PX);
      context.globalAlpha = 1;
      context.fillRect(from, top, wide, 3);
      if (mark.kind === "lost") context.fillRect(from, top + LANE_PX - 3, wide, 3);
    }
  }

  drawAxis(context, width) {
    const top = this.lanesPx();
    const step = STEPS_MS.find((ms) => (ms / this.spanMs) * width >= 76) || STEPS_MS.at(-1);
    context.fillStyle = this.colours.line;
    context.fillRect(0, top, width, 1);
    context.font = "11px system-ui, 'Liberation Sans', sans-serif";
    context.textBaseline = "middle";
    for (let ms = Math.ceil(this.startMs / step) * step; ms <= this.startMs + this.spanMs; ms += step) {
      const x = this.xAt(ms, width);
      context.fillStyle = this.colours.quiet;
      context.fillRect(x, top, 1, 5);
      const text = clockText(ms).replace(/\.000$/, "").replace(/(\.\d)00$/, "$1");
      const room = context.measureText(text).width;
      context.fillText(text, Math.max(0, Math.min(x - room / 2, width - room)), top + 14);
    }
  }

  // The whole call: who talks when, what part of it is on the screen above, and where it is played.
  drawTalks() {
    const context = this.fit(this.talksCanvas);
    const { width, height } = this.talksCanvas.getBoundingClientRect();
    const x = (ms) => (ms / this.call.durationMs) * width;
    this.call.sides.forEach((side, index) => {
      const top = index * (TALK_PX + 2);
      context.fillStyle = this.colours.ground;
      context.fillRect(0, top, width, TALK_PX);
      context.fillStyle = this.colours[`side-${index}`];
      for (const [from, to] of side.talks) context.fillRect(x(from), top, Math.max(0.5, x(to) - x(from)), TALK_PX);
    });
    context.fillStyle = this.colours.ink;
    context.fillRect(x(this.nowMs) - 1, 0, 2, height);
    if (this.isWhole()) return;
    context.globalAlpha = 0.14;
    context.fillRect(x(this.startMs), 0, Math.max(3, x(this.spanMs)), height);
    context.globalAlpha = 1;
    context.strokeStyle = this.colours.ink;
    context.strokeRect(x(this.startMs) + 0.5, 0.5, Math.max(3, x(this.spanMs)) - 1, height - 1);
  }

  showTip(clientX) {
    const ms = this.msAt(clientX);
    const slack = (this.spanMs / this.canvas.clientWidth) * 3;
    const mark = this.call.marks.find((one) => ms >= one.start_ms - slack && ms <= one.start_ms + one.length_ms + slack);
    this.tip.textContent = mark ? `${clockText(ms)} · ${mark.text}` : clockText(ms);
    this.tip.hidden = false;
    const box = this.wave.getBoundingClientRect();
    const room = box.width - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(clientX - box.left + 8, room))}px`;
  }
}
