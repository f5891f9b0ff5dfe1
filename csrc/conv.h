// Causal depthwise convolution with SiLU, forward and backward.
//
// A task is one sample and one block of channels (forward: also one chunk of tokens). A reverse convolution walks the
// rows with a negative stride, as the scan does.
#pragma once
#include "scan.h"

namespace {

constexpr int64_t kPrefetchRows = 16;  // rows lie kilobytes apart, out of reach of the hardware's prefetching

// Prefetch the cache lines of a block's row; `row` may lie outside the rows.
template <class Element>
AUDIOMAMBA_INLINE void prefetch_row(Rows<Element> rows, int64_t row, int64_t n_rows, int width) {
  if (row < 0 || row >= n_rows) return;
  const char* p = reinterpret_cast<const char*>(rows[row]);
  for (int64_t byte = 0; byte < width * (int64_t)sizeof(Element); byte += 64)
    __builtin_prefetch(p + byte);
}

constexpr int64_t kConvTokens = 64;  // rows per chunk: its scratch fits the first-level cache

// The work of one task, as rows_of() wants it.
AUDIOMAMBA_INLINE Task conv_task(const AudiomambaConv& a, int64_t sample, int64_t block) {
  const int64_t left = a.channels - block * kBlock;
  Task task = {};
  task.sample = sample;
  task.block = block;
  task.channel = block * kBlock;
  task.width = left < kBlock ? static_cast<int>(left) : kBlock;
  task.vectors = (task.width + kLanes - 1) / kLanes;
  task.length = clamped_length(a.lengths, sample, a.tokens);
  task.reverse = a.reverse != 0;
  return task;
}

// The filters of a block as [tap][kBlock].
AUDIOMAMBA_INLINE void gather_taps(const AudiomambaConv& a, const Task& task, float* taps) {
  memset(taps, 0, a.width * kBlock * sizeof(float));
  for (int i = 0; i < task.width; i++)
    for (int64_t k = 0; k < a.width; k++) taps[k * kBlock + i] = a.weight[(task.channel + i) * a.width + k];
}

// bias + the filter over the rows up to t, before the activation.
template <class Element>
AUDIOMAMBA_INLINE Vec filtered(const AudiomambaConv& a, const Rows<const Element>& x, const float* taps, int64_t t,
                               int64_t channel, int column, int lanes) {
  Vec sum = a.bias ? load_lanes(a.bias + channel, lanes) : Vec{};
  const int64_t missing = a.width - 1 - t;  // taps that reach before the first token
  for (int64_t k = missing > 0 ? missing : 0; k < a.width; k++)
    sum += load(taps + k * kBlock + column) * load_lanes(x[t - (a.width - 1) + k] + column, lanes);
  return sum;
}

template <class Element>
int conv_forward(const AudiomambaConv& a) {
  const int64_t blocks = (a.channels + kBlock - 1) / kBlock;
  const int64_t chunks = (a.tokens + kConvTokens - 1) / kConvTokens;
  int status = kDone;
#pragma omp parallel num_threads(audiomamba_threads()) reduction(max : status)
  {
    FlushDenormals flush;
    const bool ready = thread_workspace.reserve(a.width * kBlock);
    if (!ready) status = kOutOfMemory;
    float* taps = thread_workspace.take(a.width * kBlock);
#pragma omp for schedule(static)
    for (int64_t index = 0; index < a.batch * blocks * chunks; index++) {
      if (!ready) continue;
      const Task task = conv_task(a, index / chunks / blocks, index / chunks % blocks);
      const int64_t first = index % chunks * kConvTokens;
      const int64_t last = first + kConvTokens < task.length ? first + kConvTokens : task.length;
      gather_taps(a, task, taps);
      const Rows<const Element> x = rows_of<const Element>(a.x, task, task.channel);
      const Rows<Element> out = rows_of<Element>(a.out, task, task.channel);
      for (int64_t t = first; t < last; t++) {
        prefetch_row(x, t + kPrefetchRows, task.length, task.width);
        for (int v = 0; v < task.vectors; v++) {
          const int lanes = task.lanes(v), column = v * kLanes;
          Vec y = filtered<Element>(a, x, taps, t, task.channel + column, column, lanes);
          if (a.silu) y *= sigmoid(y);
          store_lanes(out[t] + column, y, lanes);
        }
      }
      if (first == 0) clear_padding<Element>(a.out, task, a.tokens);
    }
  }
  return status;
}

// Rows [first, first + n) of the gradient before the activation, into g.
template <class Element>
AUDIOMAMBA_INLINE void conv_gradient_rows(const AudiomambaConvGradient& gradient, const Task& task, const float* taps,
                                          int64_t first, int64_t n, float* g) {
  const AudiomambaConv& a = gradient.conv;
  const Rows<const Element> x = rows_of<const Element>(a.x, task, task.channel);
  const Rows<const Element> grad_out = rows_of<const Element>(gradient.grad_out, task, task.channel);
  for (int64_t t = first; t < first + n; t++, g += kBlock) {
    prefetch_row(x, t - kConvTokens, task.length, task.width);  // chunks come from the end
    prefetch_row(grad_out, t - kConvTokens, task.length, task.width);
    for (int v = 0; v < task.vectors; v++) {
      const int lanes = task.lanes(v), column = v * kLanes;
      Vec of_y = load_lanes(grad_out[t] + column, lanes);
      if (a.silu) {
        const Vec y = filtered<Element>(a, x, taps, t, task.channel + column, column, lanes);
        const Vec open = sigmoid(y);
        of_y *= open * (splat(1.0f) + y * (splat(1.0f) - open));  // d silu(y) / dy
      }
      store(g + column, of_y);
    }
  }
}

// Add the sum over rows [first, first + n) of g * x, x shifted by each tap, and of g to grad_taps.
template <class Element>
AUDIOMAMBA_INLINE void add_tap_gradients(const AudiomambaConv& a, const Task& task, int64_t first, int64_t n,
                                         const float* g, float* grad_taps) {
  const Rows<const Element> x = rows_of<const Element>(a.x, task, task.channel);
  for (int64_t k = 0; k <= a.width; k++, grad_taps += kBlock) {
    const int64_t before = k < a.width ? a.width - 1 - k : 0;  // k == width is the bias
    Vec sums[kBlockVectors];
    for (int v = 0; v < kBlockVectors; v++) sums[v] = load(grad_taps + v * kLanes);
    for (int64_t i = first < before ? before - first : 0; i < n; i++)
      for (int v = 0; v < task.vectors; v++) {
        const int column = v * kLanes;
        const Vec of_y = load(g + i * kBlock + column);
        sums[v] += k < a.width ? of_y * load_lanes(x[first + i - before] + column, task.lanes(v)) : of_y;
      }
    for (int v = 0; v < kBlockVectors; v++) store(grad_taps + v * kLanes, sums[v]);
  }
}

// One task's gradient. `g` holds the gradient before the activation for one chunk and the width - 1 rows after it, so
// chunks go from the last to the first and hand their first rows on. grad_taps is [tap and bias][kBlock].
template <class Element>
AUDIOMAMBA_INLINE void conv_gradient_task(const AudiomambaConvGradient& gradient, const Task& task, const float* taps,
                                          float* g, float* grad_taps) {
  const AudiomambaConv& a = gradient.conv;
  const int64_t halo = a.width - 1;
  const Rows<Element> grad_x = rows_of<Element>(gradient.grad_x, task, task.channel);
  memset(g, 0, (kConvTokens + halo) * kBlock * sizeof(float));
  memset(grad_taps, 0, (a.width + 1) * kBlock * sizeof(float));
  const int64_t chunks = (task.length + kConvTokens - 1) / kConvTokens;
  for (int64_t first = (chunks - 1) * kConvTokens; first >= 0; first -= kConvTokens) {
    const int64_t n = task.length - first < kConvTokens ? task.length - first : kConvTokens;
    memmove(g + n * kBlock, g, halo * kBlock * sizeof(float));
    conv_gradient_rows<Element>(gradient, task, taps, first, n, g);
    add_tap_gradients<Element>(a, task, first, n, g, grad_taps);
    for (int64_t i = 0; i < n; i++)
      for (int v = 0; v < task.vectors; v++) {
        const int column = v * kLanes;
        Vec of_x = {};
        for (int64_t k = 0; k < a.width; k++)
          of_x += load(taps + k * kBlock + column) * load(g + (i + halo - k) * kBlock + column);
        store_lanes(grad_x[first + i] + column, of_x, task.lanes(v));
      }
  }
}

template <class Element>
int conv_backward(const AudiomambaConvGradient& gradient) {
  const AudiomambaConv& a = gradient.conv;
  const int64_t blocks = (a.channels + kBlock - 1) / kBlock, partial_floats = (a.width + 1) * kBlock;
  if (!call_workspace.reserve(a.batch * blocks * partial_floats)) return kOutOfMemory;
  float* partials = call_workspace.take(a.batch * blocks * partial_floats);  // [sample][block][tap and bias][kBlock]
  int status = kDone;
#pragma omp parallel num_threads(audiomamba_threads()) reduction(max : status)
  {
    FlushDenormals flush;
    const bool ready = thread_workspace.reserve((2 * a.width + kConvTokens) * kBlock);
    if (!ready) status = kOutOfMemory;
    float* taps = thread_workspace.take(a.width * kBlock);
    float* g = thread_workspace.take((kConvTokens + a.width - 1) * kBlock);
#pragma omp for schedule(dynamic, 1)
    for (int64_t index = 0; index < a.batch * blocks; index++) {
      if (!ready) continue;
      const Task task = conv_task(a, index / blocks, index % blocks);
      gather_taps(a, task, taps);
      conv_gradient_task<Element>(gradient, task, taps, g, partials + index * partial_floats);
      clear_padding<Element>(gradient.grad_x, task, a.tokens);
    }
#pragma omp for schedule(static)
    for (int64_t channel = 0; channel < a.channels; channel++) {
      const float* partial = partials + channel / kBlock * partial_floats + channel % kBlock;
      for (int64_t k = 0; k <= a.width; k++) {
        float sum = 0;
        for (int64_t sample = 0; sample < a.batch; sample++)
          sum += partial[sample * blocks * partial_floats + k * kBlock];
        if (k < a.width)
          gradient.grad_weight[channel * a.width + k] = sum;
        else if (a.bias)
          gradient.grad_bias[channel] = sum;
      }
    }
  }
  return status;
}

}  // namespace
