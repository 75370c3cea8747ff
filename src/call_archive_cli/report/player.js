// Plays the call that is open. There is one player, so nothing else can sound.

class Player extends EventTarget {
  constructor() {
    super();
    this.media = new Audio();
    this.media.preservesPitch = true;
    this.call = null;
    this.askedMs = 0;
    this.voices = "apart";
    this.muted = [false, false];
    this.graph = null;
    for (const name of ["play", "pause", "ended", "seeked"]) {
      this.media.addEventListener(name, () => this.dispatchEvent(new Event("change")));
    }
  }

  // The audio is read when somebody first listens: a page of many calls opens at once.
  open(call) {
    this.call = call;
    this.muted = [false, false];
    this.restart(null, 0);
    this.route();
  }

  // Goes on with a file that holds the same audio.
  use(file) {
    this.restart(file, this.nowMs);
  }

  restart(file, ms) {
    this.media.pause();
    if (this.blobUrl) URL.revokeObjectURL(this.blobUrl);
    this.blobUrl = null;
    this.media.removeAttribute("src");
    this.file = file;
    this.askedMs = ms;
    this.loading = null;
  }

  get nowMs() {
    return this.isLoaded ? this.media.currentTime * 1000 : this.askedMs;
  }

  get isPlaying() {
    return !this.media.paused && !this.media.ended;
  }

  // A page from a file may play another file, but not look into it: no mixing there.
  get canRoute() {
    return this.call.sides.length > 1 && (Boolean(this.file) || !this.call.audio.src || location.protocol !== "file:");
  }

  get isLoaded() {
    return Boolean(this.loading) && this.media.readyState > 0;
  }

  load() {
    this.loading ||= new Promise((resolve, reject) => {
      const { src, type } = this.call.audio;
      const done = new AbortController();
      const finish = (settle, value) => { done.abort(); settle(value); };
      this.media.addEventListener("loadedmetadata", () => {
        this.media.currentTime = this.askedMs / 1000;
        finish(resolve);
      }, { signal: done.signal });
      this.media.addEventListener("error", () => finish(reject, this.media.error), { signal: done.signal });
      if (this.file || !src) {
        this.blobUrl = URL.createObjectURL(this.file || new Blob([embedded(`audio-${this.call.id}`)], { type }));
      }
      this.media.src = this.blobUrl || src;
      this.media.playbackRate = this.media.defaultPlaybackRate;
    });
    return this.loading;
  }

  async toggle() {
    if (this.isPlaying) this.media.pause();
    else await this.play();
  }

  async play() {
    const { call } = this;
    await this.load();
    if (call !== this.call) return;
    this.route();
    await this.graph?.context.resume();
    await this.media.play();
  }

  seek(ms) {
    this.askedMs = Math.min(Math.max(0, ms), this.call.durationMs);
    if (this.isLoaded) this.media.currentTime = this.askedMs / 1000;
    this.dispatchEvent(new Event("change"));
  }

  setSpeed(speed) {
    this.media.defaultPlaybackRate = speed;
    this.media.playbackRate = speed;
  }

  setVoices(voices) {
    this.voices = voices;
    this.route();
  }

  mute(side, isMuted) {
    this.muted[side] = isMuted;
    this.route();
  }

  // Each side gets its own gain into the left and the right ear. Made when it is first needed,
  // because sound that once goes through it cannot go another way.
  route() {
    if (!this.call) return;
    const isPlain = this.voices === "apart" && !this.muted.includes(true);
    if (!this.graph && (isPlain || !this.canRoute)) return;
    this.graph ||= buildGraph(this.media);
    const isMono = this.call.sides.length === 1;
    const ears = { apart: [[1, 0], [0, 1]], swapped: [[0, 1], [1, 0]], middle: [[0.7, 0.7], [0.7, 0.7]] }[this.voices];
    this.graph.gains.forEach((pair, side) => {
      const [left, right] = isMono ? [1 - side, 1 - side] : ears[side];
      const loud = this.muted[side] ? 0 : 1;
      pair[0].gain.value = left * loud;
      pair[1].gain.value = right * loud;
    });
  }
}

function buildGraph(media) {
  const context = new AudioContext();
  const splitter = context.createChannelSplitter(2);
  const merger = context.createChannelMerger(2);
  context.createMediaElementSource(media).connect(splitter);
  const gains = [0, 1].map((side) => [0, 1].map((ear) => {
    const gain = context.createGain();
    splitter.connect(gain, side);
    gain.connect(merger, 0, ear);
    return gain;
  }));
  merger.connect(context.destination);
  return { context, gains, merger };
}

// The bytes of an element that holds base64.
function embedded(id) {
  const text = document.getElementById(id).textContent;
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const decoded = atob(text);
  const bytes = new Uint8Array(decoded.length);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = decoded.charCodeAt(i);
  return bytes;
}

// Lossless audio of the page → the WAV that was archived, byte for byte.
async function wavOf(call) {
  const rateHz = 8000;
  const context = new OfflineAudioContext(call.sides.length, 1, rateHz);
  const audio = await context.decodeAudioData(embedded(`audio-${call.id}`).buffer);
  const sides = call.sides.map((_, side) => audio.getChannelData(side));
  const frameBytes = 2 * sides.length;
  const pcmBytes = audio.length * frameBytes;
  const wav = new DataView(new ArrayBuffer(44 + pcmBytes));
  const text = (at, word) => [...word].forEach((letter, i) => wav.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); wav.setUint32(4, 36 + pcmBytes, true); text(8, "WAVEfmt ");
  wav.setUint32(16, 16, true); wav.setUint16(20, 1, true); wav.setUint16(22, sides.length, true);
  wav.setUint32(24, rateHz, true); wav.setUint32(28, rateHz * frameBytes, true);
  wav.setUint16(32, frameBytes, true); wav.setUint16(34, 16, true); text(36, "data"); wav.setUint32(40, pcmBytes, true);
  for (let i = 0, at = 44; i < audio.length; i += 1) {
    for (const samples of sides) { wav.setInt16(at, Math.round(samples[i] * 32768), true); at += 2; }
  }
  return wav.buffer;
}
