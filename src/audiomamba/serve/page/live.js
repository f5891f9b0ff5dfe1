// The microphone: its samples go to the server, what is heard comes back; the sound is kept here.

import { openSocket } from "./server.js";

const WINDOW_S = 2;
const HOP_S = 0.5;
const SHOWN = 8;
const LONGEST_S = 1800; // of the sound that is kept to be opened as a recording

const $ = (id) => document.getElementById(id);

export class Microphone {
  constructor(thresholds, onEnd) {
    this.thresholds = thresholds;
    this.onEnd = onEnd;
    this.blocks = [];
    this.isOver = false;
  }

  async start(model) {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("page/capture.js");
    const source = this.context.createMediaStreamSource(this.stream);
    const capture = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0 });
    this.analyser = new AnalyserNode(this.context, { fftSize: 2048, smoothingTimeConstant: 0 });
    const query = new URLSearchParams({
      rate: this.context.sampleRate, format: "f32", model, window_s: WINDOW_S, hop_s: HOP_S, top_k: SHOWN,
    });
    this.socket = openSocket(query);
    this.socket.addEventListener("message", (message) => this.show(JSON.parse(message.data)));
    this.socket.addEventListener("close", () => this.stop(this.error ?? "the connection to the server ended"));
    await new Promise((done, failed) => {
      this.socket.addEventListener("open", done);
      this.socket.addEventListener("error", () => failed(new Error("no live connection to the server")));
    });
    capture.port.onmessage = ({ data }) => this.take(data);
    source.connect(capture);
    source.connect(this.analyser);
    $("live").hidden = false;
    $("now").replaceChildren();
    this.draw();
  }

  take(block) {
    if (this.isOver) return;
    if (this.blocks.length < 10 * LONGEST_S) this.blocks.push(block);
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(block);
  }

  show(found) {
    if (found.error) {
      this.error = found.error;
      return;
    }
    const rows = found.tags.map((tag) => {
      const row = document.createElement("li");
      const meter = Object.assign(document.createElement("meter"), { value: tag.score, max: 1 });
      meter.setAttribute("aria-label", tag.label);
      const name = document.createElement("span");
      const score = document.createElement("span");
      name.textContent = tag.label;
      score.textContent = tag.score.toFixed(2);
      row.classList.toggle("heard", isHeard(tag));
      row.append(name, meter, score);
      return row;
    });
    $("now").replaceChildren(...rows);
    const heard = found.tags.filter(isHeard).map((tag) => tag.label).join(", ");
    if ($("heard-now").textContent !== heard) $("heard-now").textContent = heard;
  }

  draw() {
    const canvas = $("live-spectrogram");
    canvas.width = canvas.clientWidth;
    const context = canvas.getContext("2d", { willReadFrequently: false });
    const levels = new Uint8Array(this.analyser.frequencyBinCount);
    const nyquist = this.context.sampleRate / 2;
    const rowOf = Array.from({ length: canvas.height }, (_, row) => {
      const share = 1 - row / canvas.height;
      const hz = 700 * (10 ** (share * Math.log10(1 + Math.min(nyquist, 16000) / 700)) - 1);
      return Math.min(levels.length - 1, Math.round((hz / nyquist) * levels.length));
    });
    const column = context.createImageData(2, canvas.height);
    const step = () => {
      if (this.isOver) return;
      this.analyser.getByteFrequencyData(levels);
      rowOf.forEach((bin, row) => {
        const [red, green, blue] = color(levels[bin] / 255);
        for (const at of [8 * row, 8 * row + 4]) {
          column.data.set([red, green, blue, 255], at);
        }
      });
      context.drawImage(canvas, -2, 0);
      context.putImageData(column, canvas.width - 2, 0);
      this.frame = requestAnimationFrame(step);
    };
    step();
  }

  async stop(reason = "") {
    if (this.isOver) return;
    this.isOver = true;
    cancelAnimationFrame(this.frame);
    this.stream?.getTracks().forEach((track) => track.stop());
    const rate = this.context?.sampleRate;
    await this.context?.close();
    this.socket?.close();
    this.onEnd(reason, this.blocks.length ? wav(this.blocks, rate) : null);
  }
}

const isHeard = (tag) => tag.heard ?? tag.score >= 0.3;

const PALETTE = [[0, 0, 4], [60, 15, 112], [150, 44, 128], [222, 73, 104], [254, 159, 109], [252, 253, 191]];

function color(share) {
  const position = share * (PALETTE.length - 1);
  const low = Math.min(PALETTE.length - 2, Math.floor(position));
  return PALETTE[low].map((value, index) => value + (position - low) * (PALETTE[low + 1][index] - value));
}

function wav(blocks, rate) {
  const count = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, letters) => [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(at, 32767 * Math.max(-1, Math.min(1, sample)), true);
      at += 2;
    }
  }
  return new File([view.buffer], "microphone.wav", { type: "audio/wav" });
}
