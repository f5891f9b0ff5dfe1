// The page's buttons, keys and files.

import { Microphone } from "./live.js";
import { Recording } from "./recording.js";
import { askJson } from "./server.js";

const $ = (id) => document.getElementById(id);
const EXPORTS = { "as-audacity": ["audacity", "labels.txt"], "as-csv": ["csv", "events.csv"], "as-json": ["json", "events.json"] };

let models = [];
let recording = null;
let microphone = null;
let opening = null;

const tell = (message) => { $("status").textContent = message; };
const model = () => models.find(({ name }) => name === $("model").value);

async function open(file) {
  if (opening || !file) return;
  opening = file;
  if (recording) await recording.close();
  recording = null;
  $("progress").hidden = false;
  $("progress").removeAttribute("value");
  tell(`${file.name} is sent to the server`);
  try {
    recording = await Recording.open(file, model(), (seconds) => tell(`${file.name}: ${Math.round(seconds)} s are heard`));
    recording.tell = tell;
    tell(`${file.name}: ${recording.events.length} events in ${recording.state.seconds.toFixed(1)} s`);
  } catch (error) {
    tell(`${file.name}: ${error.message}`);
  } finally {
    opening = null;
    $("progress").hidden = true;
  }
}

async function listen() {
  if (microphone) {
    await microphone.stop();
    return;
  }
  microphone = new Microphone(model().thresholds, (reason, file) => {
    microphone = null;
    $("listen").textContent = "Listen with the microphone";
    $("listen").setAttribute("aria-pressed", "false");
    $("live").hidden = true;
    tell(reason);
    if (file) open(file);
  });
  try {
    if (!navigator.mediaDevices) throw new Error("a browser gives the microphone only to https or to localhost");
    $("listen").textContent = "Stop listening";
    $("listen").setAttribute("aria-pressed", "true");
    await microphone.start($("model").value);
    tell("Listening. What is heard is opened as a recording when you stop.");
  } catch (error) {
    await microphone?.stop(`the microphone cannot be used: ${error.message}`);
  }
}

async function change() {
  $("threshold-value").textContent = Number($("threshold").value).toFixed(2);
  if (!recording) return;
  recording.draw();
  try {
    await recording.findEvents();
  } catch (error) {
    tell(error.message);
  }
}

function later(action, milliseconds) {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(action, milliseconds); };
}

const KEYS = {
  " ": () => recording?.wave.playPause(),
  ArrowLeft: (event) => recording?.seek(recording.wave.getCurrentTime() - (event.shiftKey ? 10 : 1)),
  ArrowRight: (event) => recording?.seek(recording.wave.getCurrentTime() + (event.shiftKey ? 10 : 1)),
  Home: () => recording?.seek(0),
  End: () => recording?.seek(recording.state.seconds),
  "+": () => zoomBy(10),
  "-": () => zoomBy(-10),
  n: () => recording?.step(1),
  p: () => recording?.step(-1),
  "/": () => $("search").focus(),
  o: () => $("file").click(),
  m: () => listen(),
};

function zoomBy(change) {
  $("zoom").value = Number($("zoom").value) + change;
  recording?.zoom($("zoom").value / 100);
}

function onKey(event) {
  const { target } = event;
  const typing = target.matches("input, select, textarea") || document.querySelector("dialog[open]");
  const presses = target.matches("button, a") && [" ", "Enter"].includes(event.key);
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || typing || presses || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action(event);
}

function connect() {
  $("open").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { open($("file").files[0]); $("file").value = ""; });
  $("listen").addEventListener("click", listen);
  $("play").addEventListener("click", () => recording?.wave.playPause());
  $("zoom").addEventListener("input", () => recording?.zoom($("zoom").value / 100));
  $("threshold").addEventListener("input", () => { $("own").checked = false; });
  $("threshold").addEventListener("input", later(change, 150));
  $("own").addEventListener("change", change);
  $("search").addEventListener("input", later(() => recording?.chooseLanes().catch((error) => tell(error.message)), 150));
  $("spectrogram").addEventListener("click", (event) => recording?.seekAt(event));
  $("keys-button").addEventListener("click", () => $("keys").showModal());
  for (const [id, [format, name]] of Object.entries(EXPORTS)) {
    $(id).addEventListener("click", () => recording?.download(format, name).catch((error) => tell(error.message)));
  }
  document.addEventListener("keydown", onKey);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") open(event.dataTransfer.files[0]);
    });
  }
  addEventListener("resize", later(() => recording?.look(...recording.visible()), 100));
  addEventListener("pagehide", () => recording?.close());
}

connect();
try {
  models = await askJson("v1/models");
  $("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  document.body.dataset.ready = "true";
} catch (error) {
  tell(error.message);
}
