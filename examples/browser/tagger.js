// Runs an exported model: samples in, scores out. Used by the page and by node alike.

export class Tagger {
  constructor(ort, session, about) {
    Object.assign(this, { ort, session, about });
  }

  static async load(ort, graph, about) {
    return new Tagger(ort, await ort.InferenceSession.create(graph), about);
  }

  // Scores of samples (Float32Array) at about.sample_rate, window by window: their mean, and those
  // of every step of time, each with the second at which it begins.
  async tag(samples) {
    const { window_samples: size, sample_rate: rate, frame_step_s: step } = this.about;
    const mean = new Float64Array(this.about.labels.length);
    const steps = [];
    for (let start = 0; start < samples.length; start += size) {
      const part = samples.subarray(start, start + size);
      const outputs = await this.run(part);
      outputs.scores.data.forEach((score, index) => {
        mean[index] += (score * part.length) / samples.length;
      });
      for (const [index, scores] of rows(outputs.frame_scores ?? outputs.scores).entries()) {
        const start_s = start / rate + index * step;
        if (start_s < (start + part.length) / rate) steps.push({ start_s, scores });
      }
    }
    return { scores: Array.from(mean), steps };
  }

  async run(part) {
    let given = part;
    if (this.about.fixed_length && part.length < this.about.window_samples) {
      given = new Float32Array(this.about.window_samples);
      given.set(part);
    }
    const waveform = new this.ort.Tensor("float32", Float32Array.from(given), [1, given.length]);
    return this.session.run({ waveform });
  }
}

// The rows of an output (1, steps, classes) or (1, classes).
function rows(output) {
  const width = output.dims.at(-1);
  return Array.from({ length: output.data.length / width }, (_, index) =>
    output.data.slice(index * width, (index + 1) * width),
  );
}
