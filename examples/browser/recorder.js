// Passes the microphone's samples on to the page.
class Recorder extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels[0].slice());
    return true;
  }
}
registerProcessor("recorder", Recorder);
