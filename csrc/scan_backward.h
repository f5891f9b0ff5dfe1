// The gradient of the scan. Nothing but the inputs and the states at chunk boundaries is kept from the forward call; per
// chunk the states are run again into a buffer that fits the first-level caches, then the adjoint walks back over it.
//
// With s = grad_out * silu(z), and per token and state, going against the scan:
//     g      = carry + C * s                the gradient of the state
//     grad_C += s * state                   grad_B += g * x,  x = delta * u
//     grad_x += g * B                       carry  = g * a,   a = exp(delta * A)
//     w      = carry * previous state       grad_delta += w * A,  grad_A += w * delta
//
// grad_B and grad_C are sums over channels, the gradients of the weights sums over the batch: each task writes its partial
// sums, and they are added in a fixed order, so that results do not depend on the number of threads.
#pragma once
#include "scan_forward.h"

namespace {

// States that a pass over a chunk takes: two registers for each, the gradients of the state and of A.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kBackwardStates = 8;
#else
constexpr int kBackwardStates = 4;
#endif

// Tasks whose partial sums of grad_B and grad_C are held before they are added up: bounds that memory to a few samples.
constexpr int64_t kTasksPerSlice = 128;

struct BackwardMemory {
  ForwardMemory forward;                 // delta, x, y, maps, decay; state is not used
  float *s, *grad_delta, *grad_x;        // [vector][row][lane], as delta
  float* carry[2];                       // [state][kBlock]
  float* grad_A[2];                      // the same, times delta only
  float* entering;                       // [group of states][lane], the states with which a vector enters a chunk
  float *a, *decayed;                    // [row][group of states][lane], of one vector and chunk
  float* grad_maps;                      // [row][grad_B | grad_C of the group][lane], summed over vectors
  Vec grad_D[kBlockVectors], grad_bias[kBlockVectors];

  static int64_t rows(const AudiomambaScan& a) { return a.A_b ? a.tokens : a.chunk_tokens; }

  static bool reserve(const AudiomambaScan& a) {
    const int64_t group = kBackwardStates * kLanes;
    return thread_workspace.reserve(6 * rows(a) * kBlock + Workspace::padded(2 * a.tokens * a.states) +
                                    8 * kBlock * a.states + (4 * a.chunk_tokens + 1) * group);
  }

  explicit BackwardMemory(const AudiomambaScan& a) : forward(a) {
    for (float** p : {&s, &grad_delta, &grad_x}) *p = thread_workspace.take(rows(a) * kBlock);
    for (float** p : {&carry[0], &carry[1], &grad_A[0], &grad_A[1]}) *p = thread_workspace.take(kBlock * a.states);
    const int64_t group = kBackwardStates * kLanes;
    entering = thread_workspace.take(group);
    this->a = thread_workspace.take(a.chunk_tokens * group);
    decayed = thread_workspace.take(a.chunk_tokens * group);
    grad_maps = thread_workspace.take(2 * a.chunk_tokens * group);
  }
};

// The partial sums that the tasks of one call write, before they are added.
struct PartialSums {
  float* maps;      // [task of the slice][token][group of states: grad_B | grad_C]
  float* A[2];      // [sample][channel][state]
  float* D;         // [sample][channel]
  float* bias;      // [sample][channel]

  static int64_t slice_samples(const AudiomambaScan& a) {
    const int64_t samples = kTasksPerSlice / (a.groups * blocks_per_group(a));
    return samples < 1 ? 1 : samples > a.batch ? a.batch : samples;
  }
  static int64_t maps_floats(const AudiomambaScan& a) { return a.tokens * 2 * a.states; }
  static int64_t floats(const AudiomambaScan& a) {
    return slice_samples(a) * a.groups * blocks_per_group(a) * maps_floats(a) +
           2 * a.batch * a.channels * (a.states + 1);
  }

  PartialSums(const AudiomambaScan& a, float* memory) : maps(memory) {
    float* next = maps + slice_samples(a) * a.groups * blocks_per_group(a) * maps_floats(a);
    const int64_t per_channel = a.batch * a.channels;
    for (float** p : {&A[0], &A[1]}) *p = next, next += per_channel * a.states;
    D = next;
    bias = next + per_channel;
  }
};

// The rows of a task in the tensors of a call.
template <class Element>
struct GradientRows {
  Rows<const Element> u, delta, z, grad_out;
  Rows<Element> grad_u, grad_delta, grad_z, out;

  GradientRows(const AudiomambaScanGradient& g, const Task& task)
      : u(rows_of<const Element>(g.scan.u, task, task.channel)),
        delta(rows_of<const Element>(g.scan.delta, task, task.channel)),
        z(rows_of<const Element>(g.scan.z, task, task.channel)),
        grad_out(rows_of<const Element>(g.grad_out, task, task.channel)),
        grad_u(rows_of<Element>(g.grad_u, task, task.channel)),
        grad_delta(rows_of<Element>(g.grad_delta, task, task.channel)),
        grad_z(rows_of<Element>(g.grad_z, task, task.channel)),
        out(rows_of<Element>(g.scan.out, task, task.channel)) {}
};

// One of these rows in each; null where there is none.
template <class Element>
struct RowPointers {
  const Element *u, *delta, *z, *grad_out;
  Element *grad_u, *grad_delta, *grad_z, *out;

  RowPointers(const GradientRows<Element>& rows, int64_t row)
      : u(rows.u[row]),
        delta(rows.delta[row]),
        z(rows.z ? rows.z[row] : nullptr),
        grad_out(rows.grad_out[row]),
        grad_u(rows.grad_u[row]),
        grad_delta(rows.grad_delta[row]),
        grad_z(rows.z ? rows.grad_z[row] : nullptr),
        out(rows.out ? rows.out[row] : nullptr) {}
};

// What a chunk of the gradient prefetches, one stream with each vector and group of states: the rows that will be read
// from `in` on, and those that will be written from `out` on, where that is not negative.
struct Streams {
  Stream streams[8];

  template <class Element>
  Streams(const GradientRows<Element>& rows, const Task& task, int64_t in, int64_t out, int64_t n)
      : streams{Stream(rows.u, in, n, task),          Stream(rows.delta, in, n, task),
                Stream(rows.grad_out, in, n, task),   Stream(rows.z, in, n, task),
                Stream(rows.grad_u, out, n, task),    Stream(rows.grad_delta, out, n, task),
                Stream(rows.grad_z, out, n, task),   Stream(rows.out, out, n, task)} {}

  Stream operator[](int64_t i) const { return i < 8 ? streams[i] : Stream(); }
};

// Rows [first, first + n) of delta, x, y and s, and zeros for the gradients of delta and x.
template <class Element>
AUDIOMAMBA_INLINE void prepare_gradient(const AudiomambaScanGradient& g, const GradientRows<Element>& rows,
                                        const Task& task, int64_t first, int n, BackwardMemory& m, int64_t at,
                                        bool* out_of_range) {
  prepare_rows<Element>(g.scan, task, first, n, m.forward, at, out_of_range);
  by_width(task, [&](auto whole) __attribute__((always_inline)) {
    constexpr bool kWhole = decltype(whole)::value;
    for (int i = 0; i < n; i++) {
      const Element *grad_out = rows.grad_out[first + i], *z = rows.z ? rows.z[first + i] : nullptr;
      for (int v = 0; v < (kWhole ? kBlockVectors : task.vectors); v++) {
        const int lanes = kWhole ? kLanes : task.lanes(v), column = v * kLanes;
        Vec s = load_lanes(grad_out + column, lanes);
        if (z) {
          Vec gate = load_lanes(z + column, lanes);
          s *= gate * sigmoid(gate);
        }
        const int64_t k = v * m.forward.plane + (at + i) * kLanes;
        store(m.s + k, s);
        store(m.grad_delta + k, Vec{});
        store(m.grad_x + k, Vec{});
      }
    }
  });
}

// Run a group of states of one vector through a chunk as recur() does. Keeps, per step, a and a times the state before it;
// adds the step's share of grad_C.
template <int Size, bool Any>
AUDIOMAMBA_LOOP void rerun(int n, bool backward, const float* delta, const float* x, const float* s, float* y,
                           const float* maps, int64_t states, const float* decay, const float* entering, float* a_out,
                           float* decayed_out, float* grad_maps, Stream ahead) {
  constexpr int kCount = Size < kTogether ? Size : kTogether;
  Vec h[Size];
#pragma GCC unroll 16
  for (int k = 0; k < Size; k++) h[k] = load(entering + k * kLanes);
  for (int i = 0; i < n; i++) {
    const int t = backward ? n - 1 - i : i;
    const Vec d = load(delta + t * kLanes), input = load(x + t * kLanes), from_out = load(s + t * kLanes);
    const float *B = maps + t * 2 * states, *C = B + states;
    float *a_row = a_out + i * Size * kLanes, *decayed_row = decayed_out + i * Size * kLanes;
    float* grad_C = grad_maps + (t * 2 + 1) * Size * kLanes;
    Vec even = {}, odd = {};
    ahead.fetch();
#pragma GCC unroll 16
    for (int first = 0; first < Size; first += kCount) {
      Vec a[kCount];
      exp2_products<kCount, Any, kBlock>(d, decay + first * kBlock, a);
#pragma GCC unroll 16
      for (int k = first; k < first + kCount; k++) {
        const Vec decayed = a[k - first] * h[k];
        store(a_row + k * kLanes, a[k - first]);
        store(decayed_row + k * kLanes, decayed);
        h[k] = splat(B[k]) * input + decayed;
        Vec& sum = k % 2 ? odd : even;
        sum += splat(C[k]) * h[k];
        store(grad_C + k * kLanes, load(grad_C + k * kLanes) + from_out * h[k]);
      }
    }
    store(y + t * kLanes, load(y + t * kLanes) + (even + odd));
  }
}

// Walk back over what rerun() kept.
template <int Size>
AUDIOMAMBA_LOOP void adjoint(int n, bool backward, const float* delta, const float* x, const float* s, float* grad_delta,
                             float* grad_x, const float* maps, int64_t states, const float* decay, const float* a,
                             const float* decayed, float* carry_io, float* grad_A_io, float* grad_maps) {
  Vec carry[Size], grad_A[Size];
#pragma GCC unroll 16
  for (int k = 0; k < Size; k++) {
    carry[k] = load(carry_io + k * kBlock);
    grad_A[k] = load(grad_A_io + k * kBlock);
  }
  for (int i = n - 1; i >= 0; i--) {
    const int t = backward ? n - 1 - i : i;
    const Vec d = load(delta + t * kLanes), input = load(x + t * kLanes), from_out = load(s + t * kLanes);
    const float *B = maps + t * 2 * states, *C = B + states;
    const float *a_row = a + i * Size * kLanes, *decayed_row = decayed + i * Size * kLanes;
    float* grad_B = grad_maps + t * 2 * Size * kLanes;
    Vec delta_sum[2] = {}, x_sum[2] = {};
#pragma GCC unroll 16
    for (int k = 0; k < Size; k++) {
      const Vec g = splat(C[k]) * from_out + carry[k], w = g * load(decayed_row + k * kLanes);
      store(grad_B + k * kLanes, load(grad_B + k * kLanes) + g * input);
      x_sum[k % 2] += splat(B[k]) * g;
      delta_sum[k % 2] += w * load(decay + k * kBlock);
      grad_A[k] += w * d;
      carry[k] = g * load(a_row + k * kLanes);
    }
    store(grad_delta + t * kLanes, load(grad_delta + t * kLanes) + (delta_sum[0] + delta_sum[1]));
    store(grad_x + t * kLanes, load(grad_x + t * kLanes) + (x_sum[0] + x_sum[1]));
  }
#pragma GCC unroll 16
  for (int k = 0; k < Size; k++) {
    store(carry_io + k * kBlock, carry[k]);
    store(grad_A_io + k * kBlock, grad_A[k]);
  }
}

// Prefetch the states saved at the start of a chunk.
AUDIOMAMBA_INLINE void prefetch_states(const AudiomambaScan& a, const Task& task, int direction, int64_t chunk) {
  const char* saved = reinterpret_cast<const char*>(saved_states(a, task, direction, chunk));
  const int64_t bytes = task.width * a.states * static_cast<int64_t>(sizeof(float));
  for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(saved + byte);
}

// Sum grad_maps over its lanes and set, or add to, the task's partial sums.
template <int Size>
AUDIOMAMBA_INLINE void add_over_lanes(int n, bool set, const float* grad_maps, int64_t states, float* partial) {
  constexpr int kSums = 2 * Size, kTokens = kSums < kLanes ? kLanes / kSums : 1;  // of a full vector of sums
  for (int first = 0; first < n; first += kTokens) {
    float sums[kTokens * kSums];
    sums_of_lanes<kTokens * kSums>(grad_maps + first * kSums * kLanes, sums);
    for (int i = 0; i < kTokens && first + i < n; i++) {
      float* to = partial + (first + i) * 2 * states;
      for (int k = 0; k < kSums; k++) to[k] = set ? sums[i * kSums + k] : to[k] + sums[i * kSums + k];
    }
  }
}

// The gradient of one scan over one chunk of n rows, at `at` in the working memory. `partial` is the task's
// [token][grad_B | grad_C] in the order of the scan. Each vector and group of states prefetches one of the streams.
AUDIOMAMBA_INLINE void gradient_chunk(const AudiomambaScan& a, const Task& task, int direction, int64_t chunk, int n,
                                      BackwardMemory& m, int64_t at, const bool* out_of_range, float* partial,
                                      const Streams& ahead) {
  const int64_t first = chunk * a.chunk_tokens;
  const bool backward = direction == 1;
  for_state_groups<kBackwardStates>(a.states, [&](auto group, int64_t s) __attribute__((always_inline)) {
    constexpr int kSize = decltype(group)::size;
    const float* maps = m.forward.maps + first * 2 * a.states + s;
    memset(m.grad_maps, 0, n * 2 * kSize * kLanes * sizeof(float));
    for (int v = 0; v < task.vectors; v++) {
      const int64_t k = v * m.forward.plane + at * kLanes, of_states = s * kBlock + v * kLanes;
      const float* saved = saved_states(a, task, direction, chunk) + s * task.width + v * kLanes;
      for (int i = 0; i < kSize; i++)
        store(m.entering + i * kLanes, load_lanes(saved + i * task.width, task.lanes(v)));
      const float *delta = m.forward.delta + k, *x = m.forward.x + k, *from_out = m.s + k;
      const float* decay = m.forward.decay[direction] + of_states;
      float* y = m.forward.y + k;
      const Stream stream = ahead[s / kSize * kBlockVectors + v];
      if (kProductIsLimited && out_of_range[v])
        rerun<kSize, true>(n, backward, delta, x, from_out, y, maps, a.states, decay, m.entering, m.a, m.decayed,
                           m.grad_maps, stream);
      else
        rerun<kSize, false>(n, backward, delta, x, from_out, y, maps, a.states, decay, m.entering, m.a, m.decayed,
                            m.grad_maps, stream);
      adjoint<kSize>(n, backward, delta, x, from_out, m.grad_delta + k, m.grad_x + k, maps, a.states, decay, m.a,
                     m.decayed, m.carry[direction] + of_states, m.grad_A[direction] + of_states, m.grad_maps);
    }
    add_over_lanes<kSize>(n, direction == 0, m.grad_maps, a.states, partial + (first * a.states + s) * 2);
  });
}

// Turn what the scans left into the gradients of u, delta and z, and the result if it is asked for again.
template <class Element>
AUDIOMAMBA_INLINE void finish_gradient(const AudiomambaScanGradient& g, const GradientRows<Element>& rows,
                                       const Task& task, int64_t first, int n, BackwardMemory& m, int64_t at) {
  const AudiomambaScan& a = g.scan;
  const float scans = a.A_b ? 2.0f : 1.0f;
  by_width(task, [&](auto whole) __attribute__((always_inline)) {
    constexpr bool kWhole = decltype(whole)::value;
    for (int i = 0; i < n; i++) {
      const RowPointers<Element> row(rows, first + i);
      for (int v = 0; v < (kWhole ? kBlockVectors : task.vectors); v++) {
        const int lanes = kWhole ? kLanes : task.lanes(v), column = v * kLanes;
        const int64_t k = v * m.forward.plane + (at + i) * kLanes, channel = task.channel + column;
        const Vec input = load_lanes(row.u + column, lanes), s = load(m.s + k), of_x = load(m.grad_x + k);
        Vec of_step = load(m.grad_delta + k) * splat(kLn2) + of_x * input;
        if (a.delta_softplus) {
          Vec raw = load_lanes(row.delta + column, lanes);
          if (a.delta_bias) raw += load_lanes(a.delta_bias + channel, lanes);
          of_step *= sigmoid(raw);
        }
        m.grad_bias[v] += of_step;
        Vec of_u = of_x * load(m.forward.delta + k);
        if (a.D) {
          of_u += s * splat(scans) * load_lanes(a.D + channel, lanes);
          m.grad_D[v] += s * splat(scans) * input;
        }
        if (a.accumulate) of_u += load_lanes(row.grad_u + column, lanes);
        store_lanes(row.grad_u + column, of_u, lanes);
        store_lanes(row.grad_delta + column, of_step, lanes);
        Vec y = load(m.forward.y + k);
        if (row.z) {
          const Vec gate = load_lanes(row.z + column, lanes), open = sigmoid(gate);
          const Vec slope = open * (splat(1.0f) + gate * (splat(1.0f) - open));  // d silu(z) / dz
          store_lanes(row.grad_z + column, load_lanes(row.grad_out + column, lanes) * y * slope, lanes);
          y *= gate * open;
        }
        if (row.out) store_lanes(row.out + column, y, lanes);
      }
    }
  });
}

template <class Element>
void gradient_task(const AudiomambaScanGradient& g, const Task& task, BackwardMemory& m, const PartialSums& partials,
                   float* partial) {
  const AudiomambaScan& a = g.scan;
  const int64_t n_chunks = (task.length + a.chunk_tokens - 1) / a.chunk_tokens;
  const int directions = a.A_b ? 2 : 1;
  const int64_t block_floats = (int64_t)kBlock * a.states;
  for (Vec& limit : m.forward.limits) limit = splat(1e30f);
  for (int direction = 0; direction < directions; direction++) {
    to_lanes((direction ? a.A_b : a.A) + task.channel * a.states, task, a.states, kLog2E, m.forward.decay[direction]);
    delta_limits(m.forward.decay[direction], task, a.states, m.forward.limits);
    memset(m.carry[direction], 0, block_floats * sizeof(float));
    memset(m.grad_A[direction], 0, block_floats * sizeof(float));
  }
  const int64_t of_channel = task.sample * a.channels + task.channel;
  if (g.grad_last_state) to_lanes(g.grad_last_state + of_channel * a.states, task, a.states, 1.0f, m.carry[0]);
  for (int v = 0; v < task.vectors; v++) m.grad_D[v] = m.grad_bias[v] = Vec{};

  const GradientRows<Element> rows(g, task);
  bool out_of_range[kBlockVectors] = {};  // any row so far
  for (int direction = 0; direction < directions; direction++) {
    const bool prepares = direction == 0, finishes = direction == directions - 1;
    for (int64_t i = 0; i < n_chunks; i++) {
      const int64_t chunk = direction ? i : n_chunks - 1 - i, first = chunk * a.chunk_tokens, at = a.A_b ? first : 0;
      const int n = static_cast<int>(task.length - first < a.chunk_tokens ? task.length - first : a.chunk_tokens);
      const Streams ahead(rows, task, prepares ? first - a.chunk_tokens : first, finishes ? first : -1, n);
      if (i + 1 < n_chunks) prefetch_states(a, task, direction, direction ? chunk + 1 : chunk - 1);
      if (prepares) prepare_gradient<Element>(g, rows, task, first, n, m, at, out_of_range);
      gradient_chunk(a, task, direction, chunk, n, m, at, out_of_range, partial, ahead);
      if (finishes) finish_gradient<Element>(g, rows, task, first, n, m, at);
    }
  }
  for (int direction = 0; direction < directions; direction++)
    from_lanes(m.grad_A[direction], task, a.states, partials.A[direction] + of_channel * a.states);
  if (g.grad_initial_state) from_lanes(m.carry[0], task, a.states, g.grad_initial_state + of_channel * a.states);
  for (int v = 0; v < task.vectors; v++) {
    store_lanes(partials.D + of_channel + v * kLanes, m.grad_D[v], task.lanes(v));
    store_lanes(partials.bias + of_channel + v * kLanes, m.grad_bias[v], task.lanes(v));
  }
  clear_padding<Element>(g.grad_u, task, a.tokens);
  clear_padding<Element>(g.grad_delta, task, a.tokens);
  clear_padding<Element>(g.grad_z, task, a.tokens);
  clear_padding<Element>(a.out, task, a.tokens);
}

// Add the partial sums of grad_B and grad_C of one row, in the order of the scan, of one sample and group over its blocks.
AUDIOMAMBA_INLINE void add_maps(const AudiomambaScanGradient& g, const float* partials, int64_t sample, int64_t group,
                                int64_t row) {
  const AudiomambaScan& a = g.scan;
  const int64_t length = clamped_length(a.lengths, sample, a.tokens);
  const int64_t step = a.reverse && row < length ? length - 1 - row : row, t = a.order ? a.order[step] : step;
  const int64_t at = ((sample * a.tokens + t) * a.groups + group) * a.states;
  float *grad_B = g.grad_B + at, *grad_C = g.grad_C + at;
  memset(grad_B, 0, a.states * sizeof(float));
  memset(grad_C, 0, a.states * sizeof(float));
  if (row >= length) return;
  for (int64_t block = 0; block < blocks_per_group(a); block++) {
    const float* from = partials + block * PartialSums::maps_floats(a) + row * 2 * a.states;
    for_state_groups<kBackwardStates>(a.states, [&](auto states, int64_t s) __attribute__((always_inline)) {
      constexpr int kSize = decltype(states)::size;
      for (int i = 0; i < kSize; i++) grad_B[s + i] += from[2 * s + i];
      for (int i = 0; i < kSize; i++) grad_C[s + i] += from[2 * s + kSize + i];
    });
  }
}

// sum = the rows of `partials` added in order, for columns [first, last).
AUDIOMAMBA_INLINE void add_rows(const float* partials, int64_t rows, int64_t columns, int64_t first, int64_t last,
                                float* sum) {
  memset(sum + first, 0, (last - first) * sizeof(float));
  for (int64_t row = 0; row < rows; row++)
    for (int64_t i = first; i < last; i++) sum[i] += partials[row * columns + i];
}

template <class Element>
int scan_backward(const AudiomambaScanGradient& g) {
  const AudiomambaScan& a = g.scan;
  const int64_t sample_tasks = a.groups * blocks_per_group(a), slice = PartialSums::slice_samples(a);
  if (!call_workspace.reserve(PartialSums::floats(a))) return kOutOfMemory;
  const PartialSums partials(a, call_workspace.take(PartialSums::floats(a)));
  int status = kDone;
#pragma omp parallel num_threads(audiomamba_threads()) reduction(max : status)
  {
    FlushDenormals flush;
    const bool ready = BackwardMemory::reserve(a);
    if (!ready) status = kOutOfMemory;
    BackwardMemory memory(a);
    int64_t gathered = -1;
    for (int64_t start = 0; start < a.batch; start += slice) {
      const int64_t samples = a.batch - start < slice ? a.batch - start : slice;
#pragma omp for schedule(dynamic, 1)
      for (int64_t index = 0; index < samples * sample_tasks; index++) {
        if (!ready) continue;
        const Task task = locate(a, start * sample_tasks + index);
        const int64_t maps = task.sample * a.groups + task.group;
        if (maps != gathered) gather_maps<Element>(a, task, memory.forward.maps);
        gathered = maps;
        gradient_task<Element>(g, task, memory, partials, partials.maps + index * PartialSums::maps_floats(a));
      }
#pragma omp for collapse(3) schedule(static)
      for (int64_t sample = 0; sample < samples; sample++)
        for (int64_t group = 0; group < a.groups; group++)
          for (int64_t row = 0; row < a.tokens; row++) {
            const int64_t first_task = sample * sample_tasks + group * blocks_per_group(a);
            add_maps(g, partials.maps + first_task * PartialSums::maps_floats(a), start + sample, group, row);
          }
    }
    constexpr int64_t kChannels = 64;  // per piece of work
#pragma omp for schedule(static)
    for (int64_t channel = 0; channel < a.channels; channel += kChannels) {
      const int64_t last = channel + kChannels < a.channels ? channel + kChannels : a.channels;
      const int64_t n = a.channels * a.states;
      add_rows(partials.A[0], a.batch, n, channel * a.states, last * a.states, g.grad_A);
      if (a.A_b) add_rows(partials.A[1], a.batch, n, channel * a.states, last * a.states, g.grad_A_b);
      if (a.D) add_rows(partials.D, a.batch, a.channels, channel, last, g.grad_D);
      if (a.delta_bias) add_rows(partials.bias, a.batch, a.channels, channel, last, g.grad_delta_bias);
    }
  }
  return status;
}

}  // namespace
