// Says what is heard in a recording, without Python: tag FOLDER SOUND.wav
//
// FOLDER is what `audiomamba export MODEL --to FOLDER --format pt2` wrote. The recording is a WAV
// file with one channel of 16 bits at the model's sample rate. Of a model that reads one length only,
// the recording is cut, or has silence put after it.

#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

static std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The strings in the list "labels" of labels.json.
static std::vector<std::string> labels(const std::string& json) {
  std::vector<std::string> found;
  size_t at = json.find('[', json.find("\"labels\""));
  const size_t end = json.find(']', at);
  while ((at = json.find('"', at)) < end) {
    const size_t close = json.find('"', at + 1);
    found.push_back(json.substr(at + 1, close - at - 1));
    at = close + 1;
  }
  return found;
}

static int64_t number(const std::string& json, const std::string& name) {
  return std::stoll(json.substr(json.find(':', json.find('"' + name + '"')) + 1));
}

// Samples from -1 to 1, as (1, samples).
static at::Tensor samples(const std::string& wav, int64_t rate) {
  const size_t start = wav.find("data") + 8;
  if (wav.compare(0, 4, "RIFF") != 0 || start > wav.size()) throw std::runtime_error("no WAV file");
  int32_t own_rate;
  std::memcpy(&own_rate, wav.data() + 24, sizeof own_rate);
  if (own_rate != rate)
    throw std::runtime_error("the rate is " + std::to_string(own_rate) + " Hz; expected " +
                             std::to_string(rate));
  const int64_t n = static_cast<int64_t>(wav.size() - start) / 2;
  auto* values = const_cast<char*>(wav.data() + start);
  return at::from_blob(values, {1, n}, at::kShort).to(at::kFloat).div(32768);
}

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: tag FOLDER SOUND.wav");
  const std::string folder = argv[1];
  const std::string json = read(folder + "/labels.json");
  const auto names = labels(json);
  at::Tensor sound = samples(read(argv[2]), number(json, "sample_rate"));
  if (json.find("\"fixed_length\": true") != std::string::npos)  // a negative padding cuts
    sound = at::constant_pad_nd(sound, {0, number(json, "window_samples") - sound.size(1)});
  torch::inductor::AOTIModelPackageLoader model(folder + "/model.pt2");
  const at::Tensor scores = model.run({sound}).at(0)[0].contiguous();
  std::vector<size_t> order(names.size());
  std::iota(order.begin(), order.end(), 0);
  const float* score = scores.const_data_ptr<float>();
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return score[a] > score[b]; });
  for (size_t rank = 0; rank < std::min<size_t>(5, order.size()); ++rank)
    std::cout << names[order[rank]] << ' ' << score[order[rank]] << '\n';
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
