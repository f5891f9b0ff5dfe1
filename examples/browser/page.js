import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { Tagger } from "./tagger.js";

const N_LANES = 6;
const LISTEN_S = 1; // from one look at the microphone's sound to the next
const $ = (id) => document.getElementById(id);

ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", location.href).href;

const about = await (await fetch("model/labels.json")).json();
const tagger = await Tagger.load(ort, "model/model.onnx", about);
window.tagger = tagger; // to try it from the console
say(`${about.name}: ${about.labels.length} kinds of sound`);

function say(text) {
  $("status").textContent = text;
}

async function decode(file) {
  const context = new OfflineAudioContext(1, 1, about.sample_rate); // decoding resamples to its rate
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const mixed = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((value, index) => {
      mixed[index] += value / sound.numberOfChannels;
    });
  }
  return mixed;
}

async function tagFile(file) {
  say(`Reading ${file.name} …`);
  try {
    const samples = await decode(file);
    const began = performance.now();
    const found = await tagger.tag(samples);
    const ms = Math.round(performance.now() - began);
    show(found, samples.length / about.sample_rate);
    say(`${file.name}: ${(samples.length / about.sample_rate).toFixed(1)} s, tagged in ${ms} ms`);
  } catch (error) {
    say(`${file.name} cannot be read: ${error.message}`);
  }
}

// A lane for each of the highest labels, darker where its score is higher.
function show({ scores, steps }, seconds) {
  const order = scores
    .map((score, index) => index)
    .filter((index) => !about.hidden.includes(about.labels[index]))
    .sort((a, b) => scores[b] - scores[a])
    .slice(0, N_LANES);
  $("lanes").replaceChildren(...order.map((index) => lane(index, scores[index], steps, seconds)));
}

function lane(index, score, steps, seconds) {
  const [row, name, canvas, number] = ["div", "span", "canvas", "span"].map((tag) =>
    document.createElement(tag),
  );
  row.className = "lane";
  name.textContent = about.labels[index];
  number.textContent = score.toFixed(3);
  [canvas.width, canvas.height] = [600, 24];
  const pen = canvas.getContext("2d");
  steps.forEach(({ start_s, scores }, at) => {
    const end_s = steps[at + 1]?.start_s ?? seconds;
    pen.fillStyle = `rgba(30, 80, 200, ${scores[index]})`;
    const left = (start_s / seconds) * canvas.width;
    pen.fillRect(left, 0, (end_s / seconds) * canvas.width - left, canvas.height);
  });
  row.append(name, canvas, number);
  return row;
}

async function listen() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext({ sampleRate: about.sample_rate });
  await context.audioWorklet.addModule("recorder.js");
  const recorder = new AudioWorkletNode(context, "recorder");
  // Only what leads to the destination is computed; the recorder itself gives silence.
  context.createMediaStreamSource(stream).connect(recorder).connect(context.destination);
  let held = new Float32Array(0);
  recorder.port.onmessage = ({ data }) => {
    const joined = new Float32Array(held.length + data.length);
    joined.set(held);
    joined.set(data, held.length);
    held = joined.subarray(Math.max(0, joined.length - about.window_samples));
  };
  say("Listening …");
  const look = async () => {
    if (held.length >= about.sample_rate) {
      const samples = held.slice();
      show(await tagger.tag(samples), samples.length / about.sample_rate);
    }
    setTimeout(look, 1000 * LISTEN_S);
  };
  look();
}

$("file").addEventListener("change", ({ target }) => target.files[0] && tagFile(target.files[0]));
$("microphone").addEventListener("click", () => listen().catch((error) => say(error.message)));
$("drop").addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
$("drop").addEventListener("dragleave", () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (event.dataTransfer.files[0]) tagFile(event.dataTransfer.files[0]);
});
