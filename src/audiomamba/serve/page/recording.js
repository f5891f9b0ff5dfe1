// One open recording: waveform, spectrogram, a lane for each label, events. All of it is drawn from
// what the server made of the recording; the browser decodes the file only to play it.

import Timeline from "./wavesurfer/timeline.esm.js";
import WaveSurfer from "./wavesurfer/wavesurfer.esm.js";
import { ask, askJson } from "./server.js";

const LANES = 8;
const SEARCHED_LANES = 16;
const FINEST_PX_PER_S = 200;
const MOST_EVENTS = 500;
const MOST_TILES = 200;

const $ = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function clock(seconds) {
  const tenths = Math.round(10 * seconds);
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, (tenths % 600) / 10];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${rest.toFixed(1).padStart(4, "0")}` : `${minutes}:${rest.toFixed(1).padStart(4, "0")}`;
}

export class Recording {
  static async open(file, model, onProgress) {
    const path = `v1/recordings?${new URLSearchParams({ model: model.name })}`;
    let state = await askJson(path, { method: "POST", body: file });
    const recording = new Recording(file, model, `v1/recordings/${state.id}`);
    while (!state.is_complete) {
      if (state.error) {
        await recording.close();
        throw new Error(state.error);
      }
      onProgress(state.seconds);
      await new Promise((done) => setTimeout(done, 200));
      state = await askJson(recording.path);
    }
    await recording.show(state);
    return recording;
  }

  constructor(file, model, path) {
    Object.assign(this, { file, model, path, tiles: new Map(), lanes: new Map(), events: [], view: [0, 0] });
  }

  async show(state) {
    this.state = state;
    this.view = [0, state.seconds];
    const peaks = new Int8Array(await (await ask(`${this.path}/peaks`)).arrayBuffer());
    $("recording").hidden = false;
    $("recording-title").textContent = this.file.name;
    this.url = URL.createObjectURL(this.file);
    this.audio = new Audio(this.url);
    this.audio.addEventListener("error", () => this.tell?.("this browser cannot play the file; what is heard in it is shown all the same"));
    this.wave = WaveSurfer.create({
      container: $("waveform"), height: 96, media: this.audio, duration: state.seconds,
      peaks: [Float32Array.from(peaks, (value) => value / 127)],
      waveColor: css("--wave"), progressColor: css("--main"), cursorColor: css("--heard"), cursorWidth: 2,
      cspNonce: document.querySelector("meta[name=style-nonce]").content, dragToSeek: true, autoScroll: true,
      plugins: [Timeline.create({ height: 18, formatTimeCallback: (seconds) => clock(seconds).replace(".0", "") })],
    });
    this.wave.on("timeupdate", () => this.drawTime());
    this.wave.on("play", () => this.drawPlay(true));
    this.wave.on("pause", () => this.drawPlay(false));
    this.wave.on("scroll", (start, end) => this.look(start, end));
    this.wave.on("zoom", () => this.look(...this.visible()));
    this.wave.on("redraw", () => this.look(...this.visible()));
    $("zoom").value = 0;
    await this.chooseLanes();
    await this.findEvents();
  }

  visible() {
    const width = this.wave.getWrapper().scrollWidth || 1;
    const start = (this.wave.getScroll() / width) * this.state.seconds;
    return [start, Math.min(this.state.seconds, start + (this.wave.getWidth() / width) * this.state.seconds)];
  }

  look(start, end) {
    this.view = [start, end];
    this.draw();
  }

  zoom(share) {
    const least = this.wave.getWidth() / this.state.seconds;
    const most = Math.max(least, FINEST_PX_PER_S);
    this.wave.zoom(share ? least * (most / least) ** share : 0);
    this.look(...this.visible());
  }

  seek(seconds, play = false) {
    this.wave.setTime(Math.max(0, Math.min(this.state.seconds, seconds)));
    this.drawTime();
    if (play) this.wave.play().catch(() => {});
  }

  playEvent(event) {
    this.seek(event.start_s);
    this.wave.play(event.start_s, Math.max(event.end_s, event.start_s + 0.3)).catch(() => {});
  }

  step(direction) {
    const now = this.wave.getCurrentTime();
    const found = direction > 0
      ? this.events.find((event) => event.start_s > now + 0.05)
      : this.events.findLast((event) => event.start_s < now - 0.5);
    if (found) this.playEvent(found);
  }

  threshold(label) {
    return $("own").checked ? this.model.thresholds[label] ?? 0.3 : Number($("threshold").value);
  }

  eventQuery(format) {
    const query = new URLSearchParams({ format });
    if (!$("own").checked) query.set("threshold", $("threshold").value);
    return `${this.path}/events?${query}`;
  }

  async chooseLanes() {
    const words = $("search").value.toLowerCase().trim();
    const found = this.state.labels.filter(({ label }) => label.toLowerCase().includes(words));
    const labels = found.slice(0, words ? SEARCHED_LANES : LANES).map(({ label }) => label);
    const missing = labels.filter((label) => !this.lanes.has(label));
    if (missing.length) {
      const query = new URLSearchParams({ bins: 4000 });
      missing.forEach((label) => query.append("label", label));
      const scores = await askJson(`${this.path}/lanes?${query}`);
      missing.forEach((label) => this.lanes.set(label, scores[label]));
    }
    $("lanes").replaceChildren(...labels.map((label) => this.lane(label)));
    $("lanes").dataset.count = labels.length;
    this.draw();
  }

  lane(label) {
    const row = document.createElement("div");
    row.className = "lane";
    row.setAttribute("role", "listitem");
    const button = document.createElement("button");
    const highest = Math.max(...this.lanes.get(label));
    button.type = "button";
    button.textContent = `${label} ${highest.toFixed(2)}`;
    button.title = `Play where ${label} scores highest`;
    button.addEventListener("click", () => {
      const scores = this.lanes.get(label);
      this.seek((scores.indexOf(highest) / scores.length) * this.state.seconds, true);
    });
    const canvas = document.createElement("canvas");
    canvas.height = 36;
    canvas.dataset.label = label;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Score of ${label} over time, at most ${highest.toFixed(2)}`);
    canvas.addEventListener("click", (event) => this.seekAt(event));
    row.append(button, canvas);
    return row;
  }

  seekAt(event) {
    const box = event.target.getBoundingClientRect();
    const [start, end] = this.view;
    this.seek(start + ((event.clientX - box.left) / box.width) * (end - start), true);
  }

  async findEvents() {
    const asked = (this.asked = this.eventQuery("json"));
    const found = await askJson(asked);
    if (asked !== this.asked) return; // another question was asked meanwhile
    this.events = found.events;
    const rows = found.events.slice(0, MOST_EVENTS).map((event) => {
      const row = document.createElement("tr");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = clock(event.start_s);
      button.setAttribute("aria-label", `Play ${event.label} from ${clock(event.start_s)}`);
      button.addEventListener("click", () => this.playEvent(event));
      row.append(...[button, clock(event.end_s), event.label, event.score.toFixed(2)].map((content) => {
        const cell = document.createElement("td");
        cell.append(content);
        return cell;
      }));
      return row;
    });
    $("events").replaceChildren(...rows);
    const more = found.events.length > MOST_EVENTS ? `, the first ${MOST_EVENTS} shown` : "";
    $("events-title").textContent = `Events (${found.events.length}${more})`;
    this.draw();
  }

  async download(format, name) {
    const blob = await (await ask(this.eventQuery(format))).blob();
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  drawTime() {
    $("time").textContent = clock(this.wave.getCurrentTime());
    this.draw();
  }

  drawPlay(plays) {
    $("play").textContent = plays ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(plays));
  }

  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      if (this.isClosed) return;
      this.drawSpectrogram();
      document.querySelectorAll(".lane canvas").forEach((canvas) => this.drawLane(canvas));
    });
  }

  drawSpectrogram() {
    const { columns_per_s: perSecond, tile_columns: width, level_factor: factor, levels, bands } = this.state;
    const canvas = $("spectrogram");
    const context = prepared(canvas, bands * 2);
    const [start, end] = this.view;
    const wanted = canvas.width / (end - start); // pixels in a second
    let level = 0;
    while (level + 1 < levels.length && perSecond / factor ** (level + 1) >= wanted) level += 1;
    const tileS = (width * factor ** level) / perSecond;
    for (let index = Math.floor(start / tileS); index * tileS < end && index * width < levels[level]; index += 1) {
      const picture = this.tile(level, index);
      if (!picture) continue;
      const pixels = (picture.width * factor ** level / perSecond) * wanted;
      context.drawImage(picture, (index * tileS - start) * wanted, 0, pixels, canvas.height);
    }
    this.drawCursor(context, canvas);
  }

  tile(level, index) {
    const name = `${level}/${index}`;
    if (!this.tiles.has(name)) {
      if (this.tiles.size >= MOST_TILES) this.tiles.clear();
      this.tiles.set(name, null);
      ask(`${this.path}/tiles/${name}`)
        .then((answer) => answer.blob())
        .then(createImageBitmap)
        .then((picture) => { this.tiles.set(name, picture); this.draw(); })
        .catch((error) => { if (!this.isClosed) this.tell?.(error.message); });
    }
    return this.tiles.get(name);
  }

  drawLane(canvas) {
    const scores = this.lanes.get(canvas.dataset.label);
    const context = prepared(canvas, 36);
    const [start, end] = this.view;
    const { width, height } = canvas;
    const threshold = this.threshold(canvas.dataset.label);
    const at = (time) => Math.max(0, Math.min(scores.length - 1, Math.floor((time / this.state.seconds) * scores.length)));
    const [curve, heard] = [css("--curve"), css("--heard")];
    for (let x = 0; x < width; x += 1) {
      const first = at(start + (x / width) * (end - start));
      const last = Math.max(first, at(start + ((x + 1) / width) * (end - start)) - 1);
      let score = scores[first];
      for (let index = first + 1; index <= last; index += 1) score = Math.max(score, scores[index]);
      context.fillStyle = score >= threshold ? heard : curve;
      context.fillRect(x, height * (1 - score), 1, height * score);
    }
    context.fillStyle = css("--faint");
    context.fillRect(0, Math.round(height * (1 - threshold)), width, 1);
    this.drawCursor(context, canvas);
  }

  drawCursor(context, canvas) {
    const [start, end] = this.view;
    const x = ((this.wave.getCurrentTime() - start) / (end - start)) * canvas.width;
    context.fillStyle = css("--heard");
    if (x >= 0 && x <= canvas.width) context.fillRect(Math.min(x, canvas.width - 2), 0, 2, canvas.height);
  }

  async close() {
    this.isClosed = true;
    this.wave?.destroy();
    if (this.url) URL.revokeObjectURL(this.url);
    $("recording").hidden = true;
    await ask(this.path, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}

function prepared(canvas, height) {
  const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  return context;
}
