// The forward scan. Per tile: prepare delta, delta * u and D * u; run the recurrence; gate and write.
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

// Rows that are prepared, scanned and finished together: they fit the first-level cache.
constexpr int kTileRows = 16;

// The working memory of a forward task. delta, x and y are [vector][row][lane], so that a loop over time walks through
// memory: of one chunk, or of all tokens where a second scan follows.
struct ForwardMemory {
  float *delta, *x, *y;
  float* maps;      // [token][B | C]
  float* decay[2];  // A * log2(e) of each scan, [state][kBlock]
  float* state[2];  // the same layout
  Vec limits[kBlockVectors];
  int64_t plane;  // floats of a vector's rows

  // The gradient prepares a chunk at once; a scan in one direction uses the first kTileRows of it.
  static int64_t rows(const AudiomambaScan& a) { return a.A_b ? a.tokens : a.chunk_tokens; }

  static bool reserve(const AudiomambaScan& a) {
    return thread_workspace.reserve(3 * rows(a) * kBlock + Workspace::padded(2 * a.tokens * a.states) +
                                    4 * kBlock * a.states);
  }

  explicit ForwardMemory(const AudiomambaScan& a) : plane(rows(a) * kLanes) {
    for (float** p : {&delta, &x, &y}) *p = thread_workspace.take(rows(a) * kBlock);
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

// Call body(constant) with whether the task fills its block: then the loops over its vectors have fixed bounds.
template <class Body>
AUDIOMAMBA_INLINE void by_width(const Task& task, Body&& body) {
  if (task.width == kBlock)
    body(std::true_type{});
  else
    body(std::false_type{});
}

// Rows [first, first + n) of delta, x and y. Sets `out_of_range` where a vector has lanes beyond delta_limits().
template <class Element>
AUDIOMAMBA_INLINE void prepare_rows(const AudiomambaScan& a, const Task& task, int64_t first, int n,
                                    ForwardMemory& m, int64_t at, bool* out_of_range) {
  const Rows<const Element> u = rows_of<const Element>(a.u, task, task.channel);
  const Rows<const Element> delta = rows_of<const Element>(a.delta, task, task.channel);
  const float* bias = a.delta_bias ? a.delta_bias + task.channel : nullptr;
  const float scans = a.A_b ? 2.0f : 1.0f;  // each scan adds D * u
  IntVec exceeds[kBlockVectors] = {};
  by_width(task, [&](auto whole) __attribute__((always_inline)) {
    constexpr bool kWhole = decltype(whole)::value;
    for (int i = 0; i < n; i++) {
      const Element *u_row = u[first + i], *delta_row = delta[first + i];
      for (int v = 0; v < (kWhole ? kBlockVectors : task.vectors); v++) {
        const int lanes = kWhole ? kLanes : task.lanes(v), column = v * kLanes;
        const int64_t k = v * m.plane + (at + i) * kLanes;
        Vec step = step_size(a, delta_row + column, bias ? bias + column : nullptr, lanes);
        Vec input = load_lanes(u_row + column, lanes);
        Vec skip = a.D ? input * load_lanes(a.D + task.channel + column, lanes) * splat(scans) : Vec{};
        if (kProductIsLimited) exceeds[v] |= ~(absolute(step) <= m.limits[v]);
        store(m.delta + k, step);
        store(m.x + k, step * input);
        store(m.y + k, skip);
      }
    }
  });
  if (kProductIsLimited)
    for (int v = 0; v < task.vectors; v++) out_of_range[v] |= any(exceeds[v]);
}

// Run a group of states of one vector over n rows, downward where `backward`; add C * state to y.
template <int Size, bool Any>
AUDIOMAMBA_LOOP void recur(int n, bool backward, const float* delta, const float* x, float* y, const float* maps,
                           int64_t states, const float* decay, float* state, Stream ahead) {
  constexpr int kCount = Size < kTogether ? Size : kTogether;
  Vec h[Size];
#pragma GCC unroll 16
  for (int s = 0; s < Size; s++) h[s] = load(state + s * kBlock);
  for (int i = 0; i < n; i++) {
    const int t = backward ? n - 1 - i : i;
    const Vec d = load(delta + t * kLanes), input = load(x + t * kLanes);
    const float *B = maps + t * 2 * states, *C = B + states;
    Vec even = {}, odd = {};  // two sums: one would wait for itself
    ahead.fetch();
#pragma GCC unroll 16
    for (int s = 0; s < Size; s += kCount) {
      Vec a[kCount];
      exp2_products<kCount, Any, kBlock>(d, decay + s * kBlock, a);
#pragma GCC unroll 16
      for (int k = 0; k < kCount; k++) {
        h[s + k] = a[k] * h[s + k] + splat(B[s + k]) * input;
        Vec& sum = k % 2 ? odd : even;
        sum += splat(C[s + k]) * h[s + k];
      }
    }
    store(y + t * kLanes, load(y + t * kLanes) + (even + odd));
  }
#pragma GCC unroll 16
  for (int s = 0; s < Size; s++) store(state + s * kBlock, h[s]);
}

// One scan over n rows from `first` on, which lie at `at` in the working memory, all vectors and states. Each vector
// prefetches one of the streams.
AUDIOMAMBA_INLINE void scan_rows(const AudiomambaScan& a, const Task& task, int direction, int64_t first, int n,
                                 ForwardMemory& m, int64_t at, const bool* out_of_range, const Stream* ahead) {
  for (int v = 0; v < task.vectors; v++) {
    const int64_t k = v * m.plane + at * kLanes;
    for_state_groups<kForwardStates>(a.states, [&](auto group, int64_t s) __attribute__((always_inline)) {
      constexpr int kSize = decltype(group)::size;
      const float *maps = m.maps + first * 2 * a.states + s, *decay = m.decay[direction] + s * kBlock + v * kLanes;
      float* state = m.state[direction] + s * kBlock + v * kLanes;
      const Stream stream = s == 0 ? ahead[v] : Stream();
      if (kProductIsLimited && out_of_range[v])
        recur<kSize, true>(n, direction == 1, m.delta + k, m.x + k, m.y + k, maps, a.states, decay, state, stream);
      else
        recur<kSize, false>(n, direction == 1, m.delta + k, m.x + k, m.y + k, maps, a.states, decay, state, stream);
    });
  }
}

// Save the states with which a scan enters a chunk.
AUDIOMAMBA_INLINE void save_states(const AudiomambaScan& a, const Task& task, int direction, int64_t chunk,
                                   const ForwardMemory& m) {
  if (!a.saved) return;
  float* saved = saved_states(a, task, direction, chunk);
  for (int v = 0; v < task.vectors; v++)
    for (int64_t s = 0; s < a.states; s++)
      store_lanes(saved + s * task.width + v * kLanes, load(m.state[direction] + s * kBlock + v * kLanes), task.lanes(v));
}

// Gate y and write it out.
template <class Element>
AUDIOMAMBA_INLINE void finish_rows(const AudiomambaScan& a, const Task& task, int64_t first, int n,
                                   const ForwardMemory& m, int64_t at) {
  const Rows<const Element> z = rows_of<const Element>(a.z, task, task.channel);
  const Rows<Element> out = rows_of<Element>(a.out, task, task.channel);
  by_width(task, [&](auto whole) __attribute__((always_inline)) {
    constexpr bool kWhole = decltype(whole)::value;
    for (int i = 0; i < n; i++) {
      const Element* z_row = z ? z[first + i] : nullptr;
      Element* out_row = out[first + i];
      for (int v = 0; v < (kWhole ? kBlockVectors : task.vectors); v++) {
        const int lanes = kWhole ? kLanes : task.lanes(v), column = v * kLanes;
        Vec y = load(m.y + v * m.plane + (at + i) * kLanes);
        if (z) {
          Vec gate = load_lanes(z_row + column, lanes);
          y *= gate * sigmoid(gate);
        }
        if (a.accumulate) y += load_lanes(out_row + column, lanes);
        store_lanes(out_row + column, y, lanes);
      }
    }
  });
}

// Call body(first, n) for the tiles of rows [begin, end), from the last where `backward`.
template <class Body>
AUDIOMAMBA_INLINE void for_tiles(int64_t begin, int64_t end, bool backward, Body&& body) {
  const int64_t tiles = (end - begin + kTileRows - 1) / kTileRows;
  for (int64_t i = 0; i < tiles; i++) {
    const int64_t first = begin + (backward ? tiles - 1 - i : i) * kTileRows;
    body(first, static_cast<int>(end - first < kTileRows ? end - first : kTileRows));
  }
}

template <class Element>
void scan_task(const AudiomambaScan& a, const Task& task, ForwardMemory& m) {
  const int64_t n_chunks = (task.length + a.chunk_tokens - 1) / a.chunk_tokens;
  const int directions = a.A_b ? 2 : 1;
  const int64_t block_floats = kBlock * a.states;
  for (Vec& limit : m.limits) limit = splat(1e30f);
  for (int direction = 0; direction < directions; direction++) {
    to_lanes((direction ? a.A_b : a.A) + task.channel * a.states, task, a.states, kLog2E, m.decay[direction]);
    delta_limits(m.decay[direction], task, a.states, m.limits);
    memset(m.state[direction], 0, block_floats * sizeof(float));
  }
  const int64_t states_at = (task.sample * a.channels + task.channel) * a.states;
  if (a.initial_state) to_lanes(a.initial_state + states_at, task, a.states, 1.0f, m.state[0]);

  const Rows<const Element> u = rows_of<const Element>(a.u, task, task.channel);
  const Rows<const Element> delta = rows_of<const Element>(a.delta, task, task.channel);
  const Rows<const Element> z = rows_of<const Element>(a.z, task, task.channel);
  const Rows<Element> out = rows_of<Element>(a.out, task, task.channel);
  bool out_of_range[kBlockVectors] = {};  // any row so far
  for (int direction = 0; direction < directions; direction++) {
    const bool prepares = direction == 0, finishes = direction == directions - 1;
    for (int64_t i = 0; i < n_chunks; i++) {
      const int64_t chunk = direction ? n_chunks - 1 - i : i, begin = chunk * a.chunk_tokens;
      const int64_t end = begin + a.chunk_tokens < task.length ? begin + a.chunk_tokens : task.length;
      save_states(a, task, direction, chunk, m);
      for_tiles(begin, end, direction == 1, [&](int64_t first, int n) __attribute__((always_inline)) {
        const int64_t at = a.A_b ? first : 0;
        Stream ahead[kBlockVectors];
        if (prepares) {
          ahead[0] = Stream(u, first + kTileRows, kTileRows, task);
          ahead[1] = Stream(delta, first + kTileRows, kTileRows, task);
        }
        if (finishes) {
          ahead[2] = Stream(z, first, n, task);
          ahead[3] = Stream(out, first, n, task);
        }
        if (prepares) prepare_rows<Element>(a, task, first, n, m, at, out_of_range);
        scan_rows(a, task, direction, first, n, m, at, out_of_range, ahead);
        if (finishes) finish_rows<Element>(a, task, first, n, m, at);
      });
    }
  }
  if (a.last_state) from_lanes(m.state[0], task, a.states, a.last_state + states_at);
  clear_padding<Element>(a.out, task, a.tokens);
  if (a.saved)
    for (int direction = 0; direction < directions; direction++)
      for (int64_t chunk = n_chunks; chunk < chunks(a); chunk++)
        for (int64_t s = 0; s < a.states; s++)
          memset(saved_states(a, task, direction, chunk) + s * task.width, 0, task.width * sizeof(float));
}

// Channels of a task: half as many where all threads are then done sooner. Saved states lie by whole blocks.
AUDIOMAMBA_INLINE int64_t forward_block(const AudiomambaScan& a) {
  constexpr int64_t kHalf = kBlock / 2;
  constexpr double kHalfCosts = 0.55;
  const auto rounds = [&](int64_t block) {
    const int64_t tasks = a.batch * a.groups * blocks_per_group(a, block), threads = audiomamba_threads();
    return static_cast<double>((tasks + threads - 1) / threads);
  };
  return !a.saved && kHalfCosts * rounds(kHalf) < rounds(kBlock) ? kHalf : kBlock;
}

template <class Element>
int scan_forward(const AudiomambaScan& a) {
  const int64_t block = forward_block(a), n_tasks = a.batch * a.groups * blocks_per_group(a, block);
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
      const Task task = locate(a, index, block);
      const int64_t maps = task.sample * a.groups + task.group;
      if (maps != gathered) gather_maps<Element>(a, task, memory.maps);
      gathered = maps;
      scan_task<Element>(a, task, memory);
    }
  }
  return status;
}

}  // namespace
