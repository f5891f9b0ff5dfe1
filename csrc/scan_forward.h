// The forward scan. Per chunk: prepare delta, delta * u and D * u; run the recurrence; gate and write.
#pragma once
#include <initializer_list>

#include "scan.h"

namespace {

// States in registers at once: half of the registers; the rest holds coefficients and temporaries.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kForwardStates = 16;
#elif defined(__AVX__)
constexpr int kForwardStates = 8;
#else
constexpr int kForwardStates = 4;
#endif

// The working memory of a forward task. delta, x and y are [row][kBlock]: of one chunk, or of all tokens where a second
// scan follows.
struct ForwardMemory {
  float *delta, *x, *y;
  float* maps;      // [token][B | C]
  float* decay[2];  // A * log2(e) of each scan, [vector][state][lane]
  float* state[2];  // the same layout
  Vec limits[kBlockVectors];

  static bool reserve(const AudiomambaScan& a) {
    const int64_t rows = a.A_b ? a.tokens : a.chunk_tokens;
    return thread_workspace.reserve(3 * rows * kBlock + Workspace::padded(2 * a.tokens * a.states) +
                                    4 * kBlock * a.states);
  }

  explicit ForwardMemory(const AudiomambaScan& a) {
    const int64_t rows = a.A_b ? a.tokens : a.chunk_tokens;
    for (float** p : {&delta, &x, &y}) *p = thread_workspace.take(rows * kBlock);
    maps = thread_workspace.take(2 * a.tokens * a.states);
    for (float** p : {&decay[0], &decay[1], &state[0], &state[1]})
      *p = thread_workspace.take(kBlock * a.states);
  }
};

// softplus(delta + bias) or what of it is asked for.
template <class Element>
AUDIOMAMBA_INLINE Vec step_size(const AudiomambaScan& a, const Element* delta, const float* bias, int lanes) {
  Vec step = load_lanes(delta, lanes);
  if (bias) step += load_lanes(bias, lanes);
  return a.delta_softplus ? softplus(step) : step;
}

// Rows [first, first + n) of delta, x and y. Tells in `care` whether exp2_product needs care in a vector's lanes.
// `ahead` says where the next rows will be read.
template <class Element>
AUDIOMAMBA_INLINE void prepare_chunk(const AudiomambaScan& a, const Task& task, int64_t first, int n,
                                     ForwardMemory& m, int64_t at, int64_t ahead, bool* care) {
  const Rows<const Element> u = rows_of<const Element>(a.u, task, task.channel);
  const Rows<const Element> delta = rows_of<const Element>(a.delta, task, task.channel);
  const float* bias = a.delta_bias ? a.delta_bias + task.channel : nullptr;
  const float scans = a.A_b ? 2.0f : 1.0f;  // each scan adds D * u
  IntVec exceeds[kBlockVectors] = {};
  for (int i = 0; i < n; i++) {
    prefetch_row(u, first + i + ahead, task.length, task.width);
    prefetch_row(delta, first + i + ahead, task.length, task.width);
    for (int v = 0; v < task.vectors; v++) {
      const int lanes = task.lanes(v), column = v * kLanes;
      const int64_t k = (at + i) * kBlock + column;
      Vec step = step_size(a, delta[first + i] + column, bias ? bias + column : nullptr, lanes);
      Vec input = load_lanes(u[first + i] + column, lanes);
      Vec skip = a.D ? input * load_lanes(a.D + task.channel + column, lanes) * splat(scans) : Vec{};
      exceeds[v] |= ~(absolute(step) <= m.limits[v]);
      store(m.delta + k, step);
      store(m.x + k, step * input);
      store(m.y + k, skip);
    }
  }
  if (kProductIsLimited)
    for (int v = 0; v < task.vectors; v++) care[v] = any(exceeds[v]);
}

// Run a group of states of one vector over n rows, downward where `backward`; add C * state to y.
template <int Size, bool Any>
AUDIOMAMBA_INLINE void recur(int n, bool backward, const float* delta, const float* x, float* y,
                             const float* maps, int64_t states, const float* decay, float* state) {
  Vec h[Size];
#pragma GCC unroll 16
  for (int s = 0; s < Size; s++) h[s] = load(state + s * kLanes);
  for (int i = 0; i < n; i++) {
    const int t = backward ? n - 1 - i : i;
    const Vec d = load(delta + t * kBlock), input = load(x + t * kBlock);
    const float *B = maps + t * 2 * states, *C = B + states;
    Vec even = {}, odd = {};  // two sums: one would wait for itself
#pragma GCC unroll 16
    for (int s = 0; s < Size; s++) {
      h[s] = exp2_product<Any>(d, load(decay + s * kLanes)) * h[s] + splat(B[s]) * input;
      Vec& sum = s % 2 ? odd : even;
      sum += splat(C[s]) * h[s];
    }
    store(y + t * kBlock, load(y + t * kBlock) + (even + odd));
  }
#pragma GCC unroll 16
  for (int s = 0; s < Size; s++) store(state + s * kLanes, h[s]);
}

// One scan over one chunk, all vectors and states; saves the states that enter the chunk.
AUDIOMAMBA_INLINE void scan_chunk(const AudiomambaScan& a, const Task& task, int path, int64_t chunk, int n,
                                  ForwardMemory& m, int64_t at, const bool* care) {
  const float* maps = m.maps + chunk * a.chunk_tokens * 2 * a.states;
  for (int v = 0; v < task.vectors; v++) {
    float* state = m.state[path] + v * a.states * kLanes;
    const float* decay = m.decay[path] + v * a.states * kLanes;
    if (a.saved) {
      float* saved = saved_states(a, task, path, chunk) + v * kLanes;
      for (int64_t s = 0; s < a.states; s++)
        store_lanes(saved + s * a.channels, load(state + s * kLanes), task.lanes(v));
    }
    const int64_t k = at * kBlock + v * kLanes;
    for_state_groups<kForwardStates>(a.states, [&](auto group, int64_t s) __attribute__((always_inline)) {
      constexpr int kSize = decltype(group)::size;
      if (kProductIsLimited && care[v])
        recur<kSize, true>(n, path == 1, m.delta + k, m.x + k, m.y + k, maps + s, a.states, decay + s * kLanes,
                           state + s * kLanes);
      else
        recur<kSize, false>(n, path == 1, m.delta + k, m.x + k, m.y + k, maps + s, a.states, decay + s * kLanes,
                            state + s * kLanes);
    });
  }
}

// Gate y and write it out.
template <class Element>
AUDIOMAMBA_INLINE void finish_chunk(const AudiomambaScan& a, const Task& task, int64_t first, int n,
                                    const ForwardMemory& m, int64_t at) {
  const Rows<const Element> z = rows_of<const Element>(a.z, task, task.channel);
  const Rows<Element> out = rows_of<Element>(a.out, task, task.channel);
  const int64_t ahead = a.A_b ? -kPrefetchRows : kPrefetchRows;  // a second scan comes from the end
  for (int i = 0; i < n; i++) {
    if (z) prefetch_row(z, first + i + ahead, task.length, task.width);
    for (int v = 0; v < task.vectors; v++) {
      const int lanes = task.lanes(v), column = v * kLanes;
      Vec y = load(m.y + (at + i) * kBlock + column);
      if (z) {
        Vec gate = load_lanes(z[first + i] + column, lanes);
        y *= gate * sigmoid(gate);
      }
      store_lanes(out[first + i] + column, y, lanes);
    }
  }
}

template <class Element>
void scan_task(const AudiomambaScan& a, const Task& task, ForwardMemory& m) {
  const int64_t n_chunks = (task.length + a.chunk_tokens - 1) / a.chunk_tokens;
  const int paths = a.A_b ? 2 : 1;
  const int64_t block_floats = (int64_t)task.vectors * a.states * kLanes;
  for (Vec& limit : m.limits) limit = splat(1e30f);
  for (int path = 0; path < paths; path++) {
    to_lanes((path ? a.A_b : a.A) + task.channel * a.states, task, a.states, kLog2E, m.decay[path]);
    delta_limits(m.decay[path], task, a.states, m.limits);
    memset(m.state[path], 0, block_floats * sizeof(float));
  }
  const int64_t states_at = (task.sample * a.channels + task.channel) * a.states;
  if (a.initial_state) to_lanes(a.initial_state + states_at, task, a.states, 1.0f, m.state[0]);

  bool care[kBlockVectors] = {};
  auto rows_in = [&](int64_t chunk) {
    const int64_t left = task.length - chunk * a.chunk_tokens;
    return static_cast<int>(left < a.chunk_tokens ? left : a.chunk_tokens);
  };
  bool care_anywhere[kBlockVectors] = {};
  for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
    const int64_t first = chunk * a.chunk_tokens, at = a.A_b ? first : 0;
    const int n = rows_in(chunk);
    prepare_chunk<Element>(a, task, first, n, m, at, kPrefetchRows, care);
    for (int v = 0; v < task.vectors; v++) care_anywhere[v] |= care[v];
    scan_chunk(a, task, 0, chunk, n, m, at, care);
    if (!a.A_b) finish_chunk<Element>(a, task, first, n, m, at);
  }
  if (a.A_b) {
    for (int64_t chunk = n_chunks - 1; chunk >= 0; chunk--) {
      const int64_t first = chunk * a.chunk_tokens;
      scan_chunk(a, task, 1, chunk, rows_in(chunk), m, first, care_anywhere);
      finish_chunk<Element>(a, task, first, rows_in(chunk), m, first);
    }
  }
  if (a.last_state) from_lanes(m.state[0], task, a.states, a.last_state + states_at);
  clear_padding<Element>(a.out, task, a.tokens);
  if (a.saved)
    for (int path = 0; path < paths; path++)
      for (int64_t chunk = n_chunks; chunk < chunks(a); chunk++)
        for (int64_t s = 0; s < a.states; s++)
          memset(saved_states(a, task, path, chunk) + s * a.channels, 0, task.width * sizeof(float));
}

template <class Element>
int scan_forward(const AudiomambaScan& a) {
  const int64_t n_tasks = a.batch * a.groups * blocks_per_group(a);
  int status = kDone;
#pragma omp parallel num_threads(audiomamba_threads()) reduction(max : status)
  {
    FlushDenormals flush;
    const bool ready = ForwardMemory::reserve(a);
    if (!ready) status = kOutOfMemory;
    ForwardMemory memory(a);
    int64_t gathered = -1;  // the sample and group whose B and C the thread holds
#pragma omp for schedule(dynamic, 1)
    for (int64_t index = 0; index < n_tasks; index++) {
      if (!ready) continue;
      const Task task = locate(a, index);
      const int64_t maps = task.sample * a.groups + task.group;
      if (maps != gathered) gather_maps<Element>(a, task, memory.maps);
      gathered = maps;
      scan_task<Element>(a, task, memory);
    }
  }
  return status;
}

}  // namespace
