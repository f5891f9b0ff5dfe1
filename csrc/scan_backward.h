// The gradient of the scan. Nothing but the inputs and the states at chunk boundaries is kept from the forward call; per
// chunk the states are run again into a buffer that fits the first-level caches, then the adjoint walks back over it.
//
// With s = grad_out * silu(z), and per token and state, going against the scan:
//     g      = carry + C * s                the gradient of the state
//     grad_C += s * state                   grad_B += g * x,  x = delta * u
//     grad_x += g * B                       carry  = g * a,   a = exp(delta * A)
//     w      = carry * previous state       grad_delta += w * A,  grad_A += w * delta
//
// grad_B and grad_C are sums over channels, the gradients of the weights sums over the batch: each task writes its part,
// and the parts are added in a fixed order, so that results do not depend on the number of threads.
#pragma once
#include "scan_forward.h"

namespace {

// States per pass over a chunk: with a and the state kept per token, 16 tokens of 8 states fill 16 KB.
#if defined(__AVX__) || defined(__aarch64__)
constexpr int kBackwardStates = 8;
#else
constexpr int kBackwardStates = 4;
#endif

// Tasks whose parts of grad_B and grad_C are held before they are added up: bounds that memory to a few samples.
constexpr int64_t kTasksPerSlice = 128;

struct BackwardMemory {
  ForwardMemory forward;                 // delta, x, y, maps, decay; state is not used
  float *s, *grad_delta, *grad_x;        // [row][kBlock], as delta
  float* carry[2];                       // [vector][state][lane]
  float* grad_A[2];                      // the same, times delta only
  float *a, *state;                      // [row][group of states][lane] of one vector and chunk
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
    this->a = thread_workspace.take(a.chunk_tokens * group);
    state = thread_workspace.take((a.chunk_tokens + 1) * group);
    grad_maps = thread_workspace.take(2 * a.chunk_tokens * group);
  }
};

// The parts of the gradients that tasks of one call write, before they are added.
struct Parts {
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

  Parts(const AudiomambaScan& a, float* memory) : maps(memory) {
    float* next = maps + slice_samples(a) * a.groups * blocks_per_group(a) * maps_floats(a);
    const int64_t per_channel = a.batch * a.channels;
    for (float** p : {&A[0], &A[1]}) *p = next, next += per_channel * a.states;
    D = next;
    bias = next + per_channel;
  }
};

template <class Element>
AUDIOMAMBA_INLINE void prepare_gradient(const AudiomambaScanGradient& g, const Task& task, int64_t first, int n,
                                        BackwardMemory& m, int64_t at, bool* care) {
  const AudiomambaScan& a = g.scan;
  const int64_t ahead = -a.chunk_tokens;  // chunks come from the end
  prepare_chunk<Element>(a, task, first, n, m.forward, at, ahead, care);
  const Rows<const Element> grad_out = rows_of<const Element>(g.grad_out, task, task.channel);
  const Rows<const Element> z = rows_of<const Element>(a.z, task, task.channel);
  for (int i = 0; i < n; i++) {
    prefetch_row(grad_out, first + i + ahead, task.length, task.width);
    if (z) prefetch_row(z, first + i + ahead, task.length, task.width);
    for (int v = 0; v < task.vectors; v++) {
      const int lanes = task.lanes(v), column = v * kLanes;
      const int64_t k = (at + i) * kBlock + column;
      Vec s = load_lanes(grad_out[first + i] + column, lanes);
      if (z) {
        Vec gate = load_lanes(z[first + i] + column, lanes);
        s *= gate * sigmoid(gate);
      }
      store(m.s + k, s);
      store(m.grad_delta + k, Vec{});
      store(m.grad_x + k, Vec{});
    }
  }
}

// Run a group of states through a chunk as recur() does, keeping a and the states: row i of `states_out` holds the
// states before step i, in the order of the scan.
template <int Size, bool Any>
AUDIOMAMBA_INLINE void rerun(int n, bool backward, const float* delta, const float* x, float* y, const float* maps,
                             int64_t states, const float* decay, float* a_out, float* states_out) {
  Vec h[Size];
#pragma GCC unroll 16
  for (int s = 0; s < Size; s++) h[s] = load(states_out + s * kLanes);
  for (int i = 0; i < n; i++) {
    const int t = backward ? n - 1 - i : i;
    const Vec d = load(delta + t * kBlock), input = load(x + t * kBlock);
    const float *B = maps + t * 2 * states, *C = B + states;
    float *a_row = a_out + i * Size * kLanes, *next = states_out + (i + 1) * Size * kLanes;
    Vec even = {}, odd = {};
#pragma GCC unroll 16
    for (int s = 0; s < Size; s++) {
      const Vec a = exp2_product<Any>(d, load(decay + s * kLanes));
      h[s] = a * h[s] + splat(B[s]) * input;
      store(a_row + s * kLanes, a);
      store(next + s * kLanes, h[s]);
      Vec& sum = s % 2 ? odd : even;
      sum += splat(C[s]) * h[s];
    }
    store(y + t * kBlock, load(y + t * kBlock) + (even + odd));
  }
}

// Walk back over what rerun() kept.
template <int Size>
AUDIOMAMBA_INLINE void adjoint(int n, bool backward, const float* delta, const float* x, const float* s,
                               float* grad_delta, float* grad_x, const float* maps, int64_t states,
                               const float* decay, const float* a, const float* state, float* carry_io,
                               float* grad_A_io, float* grad_maps) {
  Vec carry[Size], grad_A[Size];
#pragma GCC unroll 16
  for (int k = 0; k < Size; k++) {
    carry[k] = load(carry_io + k * kLanes);
    grad_A[k] = load(grad_A_io + k * kLanes);
  }
  for (int i = n - 1; i >= 0; i--) {
    const int t = backward ? n - 1 - i : i;
    const Vec d = load(delta + t * kBlock), input = load(x + t * kBlock), from_out = load(s + t * kBlock);
    const float *B = maps + t * 2 * states, *C = B + states;
    const float *a_row = a + i * Size * kLanes, *before = state + i * Size * kLanes, *after = before + Size * kLanes;
    float *grad_B = grad_maps + t * 2 * Size * kLanes, *grad_C = grad_B + Size * kLanes;
    Vec delta_sum[2] = {}, x_sum[2] = {};
#pragma GCC unroll 16
    for (int k = 0; k < Size; k++) {
      const int lane = k * kLanes;
      const Vec g = carry[k] + splat(C[k]) * from_out;
      store(grad_C + lane, load(grad_C + lane) + from_out * load(after + lane));
      store(grad_B + lane, load(grad_B + lane) + g * input);
      x_sum[k % 2] += splat(B[k]) * g;
      carry[k] = g * load(a_row + lane);
      const Vec w = carry[k] * load(before + lane);
      delta_sum[k % 2] += w * load(decay + lane);
      grad_A[k] += w * d;
    }
    store(grad_delta + t * kBlock, load(grad_delta + t * kBlock) + (delta_sum[0] + delta_sum[1]));
    store(grad_x + t * kBlock, load(grad_x + t * kBlock) + (x_sum[0] + x_sum[1]));
  }
#pragma GCC unroll 16
  for (int k = 0; k < Size; k++) {
    store(carry_io + k * kLanes, carry[k]);
    store(grad_A_io + k * kLanes, grad_A[k]);
  }
}

// The gradient of one scan over one chunk. `part` is the task's [token][grad_B | grad_C] in the order of the scan.
AUDIOMAMBA_INLINE void gradient_chunk(const AudiomambaScan& a, const Task& task, int path, int64_t chunk, int n,
                                      BackwardMemory& m, int64_t at, const bool* care, float* part) {
  const int64_t first = chunk * a.chunk_tokens;
  const bool backward = path == 1;
  for_state_groups<kBackwardStates>(a.states, [&](auto group, int64_t s) __attribute__((always_inline)) {
    constexpr int kSize = decltype(group)::size;
    const float* maps = m.forward.maps + first * 2 * a.states + s;
    memset(m.grad_maps, 0, n * 2 * kSize * kLanes * sizeof(float));
    for (int v = 0; v < task.vectors; v++) {
      const int64_t k = at * kBlock + v * kLanes, of_states = (v * a.states + s) * kLanes;
      const float* decay = m.forward.decay[path] + of_states;
      const float* saved = saved_states(a, task, path, chunk) + s * a.channels + v * kLanes;
      for (int i = 0; i < kSize; i++) store(m.state + i * kLanes, load_lanes(saved + i * a.channels, task.lanes(v)));
      const float *delta = m.forward.delta + k, *x = m.forward.x + k;
      float* y = m.forward.y + k;
      if (kProductIsLimited && care[v])
        rerun<kSize, true>(n, backward, delta, x, y, maps, a.states, decay, m.a, m.state);
      else
        rerun<kSize, false>(n, backward, delta, x, y, maps, a.states, decay, m.a, m.state);
      adjoint<kSize>(n, backward, delta, x, m.s + k, m.grad_delta + k, m.grad_x + k, maps, a.states, decay, m.a,
                     m.state, m.carry[path] + of_states, m.grad_A[path] + of_states, m.grad_maps);
    }
    for (int t = 0; t < n; t++) {
      float sums[2 * kSize];
      sums_of_lanes<2 * kSize>(m.grad_maps + t * 2 * kSize * kLanes, sums);
      float* to = part + ((first + t) * a.states + s) * 2;
      for (int i = 0; i < 2 * kSize; i++) to[i] = path == 0 ? sums[i] : to[i] + sums[i];
    }
  });
}

// Turn what the scans left into the gradients of u, delta and z.
template <class Element>
AUDIOMAMBA_INLINE void finish_gradient(const AudiomambaScanGradient& g, const Task& task, int64_t first, int n,
                                       BackwardMemory& m, int64_t at) {
  const AudiomambaScan& a = g.scan;
  const Rows<const Element> u = rows_of<const Element>(a.u, task, task.channel);
  const Rows<const Element> delta = rows_of<const Element>(a.delta, task, task.channel);
  const Rows<const Element> z = rows_of<const Element>(a.z, task, task.channel);
  const Rows<const Element> grad_out = rows_of<const Element>(g.grad_out, task, task.channel);
  const Rows<Element> grad_u = rows_of<Element>(g.grad_u, task, task.channel);
  const Rows<Element> grad_delta = rows_of<Element>(g.grad_delta, task, task.channel);
  const Rows<Element> grad_z = rows_of<Element>(g.grad_z, task, task.channel);
  const float scans = a.A_b ? 2.0f : 1.0f;
  for (int i = 0; i < n; i++) {
    const int64_t row = first + i, next = row + kPrefetchRows;
    if (a.A_b) {  // with one scan, prepare_gradient() has just read these
      for (const auto& rows : {u, delta, z, grad_out})
        if (rows) prefetch_row(rows, next, task.length, task.width);
    }
    for (const auto& rows : {grad_u, grad_delta, grad_z})
      if (rows) prefetch_row(rows, next, task.length, task.width);
    for (int v = 0; v < task.vectors; v++) {
      const int lanes = task.lanes(v), column = v * kLanes;
      const int64_t k = (at + i) * kBlock + column, channel = task.channel + column;
      const Vec input = load_lanes(u[row] + column, lanes), s = load(m.s + k), of_x = load(m.grad_x + k);
      Vec of_step = load(m.grad_delta + k) * splat(kLn2) + of_x * input;
      if (a.delta_softplus) {
        Vec raw = load_lanes(delta[row] + column, lanes);
        if (a.delta_bias) raw += load_lanes(a.delta_bias + channel, lanes);
        of_step *= sigmoid(raw);
      }
      m.grad_bias[v] += of_step;
      Vec of_u = of_x * load(m.forward.delta + k);
      if (a.D) {
        of_u += s * splat(scans) * load_lanes(a.D + channel, lanes);
        m.grad_D[v] += s * splat(scans) * input;
      }
      store_lanes(grad_u[row] + column, of_u, lanes);
      store_lanes(grad_delta[row] + column, of_step, lanes);
      if (z) {
        const Vec gate = load_lanes(z[row] + column, lanes), open = sigmoid(gate);
        const Vec slope = open * (splat(1.0f) + gate * (splat(1.0f) - open));  // d silu(z) / dz
        store_lanes(grad_z[row] + column,
                    load_lanes(grad_out[row] + column, lanes) * load(m.forward.y + k) * slope, lanes);
      }
    }
  }
}

template <class Element>
void gradient_task(const AudiomambaScanGradient& g, const Task& task, BackwardMemory& m, const Parts& parts, float* part) {
  const AudiomambaScan& a = g.scan;
  const int64_t n_chunks = (task.length + a.chunk_tokens - 1) / a.chunk_tokens;
  const int paths = a.A_b ? 2 : 1;
  const int64_t block_floats = (int64_t)task.vectors * a.states * kLanes;
  for (Vec& limit : m.forward.limits) limit = splat(1e30f);
  for (int path = 0; path < paths; path++) {
    to_lanes((path ? a.A_b : a.A) + task.channel * a.states, task, a.states, kLog2E, m.forward.decay[path]);
    delta_limits(m.forward.decay[path], task, a.states, m.forward.limits);
    memset(m.carry[path], 0, block_floats * sizeof(float));
    memset(m.grad_A[path], 0, block_floats * sizeof(float));
  }
  const int64_t of_channel = task.sample * a.channels + task.channel;
  if (g.grad_last_state) to_lanes(g.grad_last_state + of_channel * a.states, task, a.states, 1.0f, m.carry[0]);
  for (int v = 0; v < task.vectors; v++) m.grad_D[v] = m.grad_bias[v] = Vec{};

  bool care[kBlockVectors] = {}, care_anywhere[kBlockVectors] = {};
  auto rows_in = [&](int64_t chunk) {
    const int64_t left = task.length - chunk * a.chunk_tokens;
    return static_cast<int>(left < a.chunk_tokens ? left : a.chunk_tokens);
  };
  for (int64_t chunk = n_chunks - 1; chunk >= 0; chunk--) {
    const int64_t first = chunk * a.chunk_tokens, at = a.A_b ? first : 0;
    const int n = rows_in(chunk);
    prepare_gradient<Element>(g, task, first, n, m, at, care);
    for (int v = 0; v < task.vectors; v++) care_anywhere[v] |= care[v];
    gradient_chunk(a, task, 0, chunk, n, m, at, care, part);
    if (!a.A_b) finish_gradient<Element>(g, task, first, n, m, at);
  }
  if (a.A_b) {
    for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
      const int64_t first = chunk * a.chunk_tokens;
      gradient_chunk(a, task, 1, chunk, rows_in(chunk), m, first, care_anywhere, part);
      finish_gradient<Element>(g, task, first, rows_in(chunk), m, first);
    }
  }
  for (int path = 0; path < paths; path++)
    from_lanes(m.grad_A[path], task, a.states, parts.A[path] + of_channel * a.states);
  if (g.grad_initial_state) from_lanes(m.carry[0], task, a.states, g.grad_initial_state + of_channel * a.states);
  for (int v = 0; v < task.vectors; v++) {
    store_lanes(parts.D + of_channel + v * kLanes, m.grad_D[v], task.lanes(v));
    store_lanes(parts.bias + of_channel + v * kLanes, m.grad_bias[v], task.lanes(v));
  }
  clear_padding<Element>(g.grad_u, task, a.tokens);
  clear_padding<Element>(g.grad_delta, task, a.tokens);
  clear_padding<Element>(g.grad_z, task, a.tokens);
}

// Add the parts of grad_B and grad_C of one row of one sample and group over its blocks, in order.
AUDIOMAMBA_INLINE void add_maps(const AudiomambaScanGradient& g, const float* parts, int64_t sample, int64_t group,
                                int64_t t) {
  const AudiomambaScan& a = g.scan;
  const int64_t at = ((sample * a.tokens + t) * a.groups + group) * a.states;
  float *grad_B = g.grad_B + at, *grad_C = g.grad_C + at;
  memset(grad_B, 0, a.states * sizeof(float));
  memset(grad_C, 0, a.states * sizeof(float));
  const int64_t length = clamped_length(a.lengths, sample, a.tokens);
  if (t >= length) return;
  const int64_t row = a.reverse ? length - 1 - t : t;
  for (int64_t block = 0; block < blocks_per_group(a); block++) {
    const float* from = parts + block * Parts::maps_floats(a) + row * 2 * a.states;
    for_state_groups<kBackwardStates>(a.states, [&](auto states, int64_t s) __attribute__((always_inline)) {
      constexpr int kSize = decltype(states)::size;
      for (int i = 0; i < kSize; i++) grad_B[s + i] += from[2 * s + i];
      for (int i = 0; i < kSize; i++) grad_C[s + i] += from[2 * s + kSize + i];
    });
  }
}

// sum = the rows of `parts` added in order, for columns [first, last).
AUDIOMAMBA_INLINE void add_rows(const float* parts, int64_t rows, int64_t columns, int64_t first, int64_t last,
                                float* sum) {
  memset(sum + first, 0, (last - first) * sizeof(float));
  for (int64_t row = 0; row < rows; row++)
    for (int64_t i = first; i < last; i++) sum[i] += parts[row * columns + i];
}

template <class Element>
int scan_backward(const AudiomambaScanGradient& g) {
  const AudiomambaScan& a = g.scan;
  const int64_t sample_tasks = a.groups * blocks_per_group(a), slice = Parts::slice_samples(a);
  if (!call_workspace.reserve(Parts::floats(a))) return kOutOfMemory;
  const Parts parts(a, call_workspace.take(Parts::floats(a)));
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
        gradient_task<Element>(g, task, memory, parts, parts.maps + index * Parts::maps_floats(a));
      }
#pragma omp for collapse(3) schedule(static)
      for (int64_t sample = 0; sample < samples; sample++)
        for (int64_t group = 0; group < a.groups; group++)
          for (int64_t t = 0; t < a.tokens; t++) {
            const int64_t first_task = sample * sample_tasks + group * blocks_per_group(a);
            add_maps(g, parts.maps + first_task * Parts::maps_floats(a), start + sample, group, t);
          }
    }
    constexpr int64_t kChannels = 64;  // per piece of work
#pragma omp for schedule(static)
    for (int64_t channel = 0; channel < a.channels; channel += kChannels) {
      const int64_t last = channel + kChannels < a.channels ? channel + kChannels : a.channels;
      const int64_t n = a.channels * a.states;
      add_rows(parts.A[0], a.batch, n, channel * a.states, last * a.states, g.grad_A);
      if (a.A_b) add_rows(parts.A[1], a.batch, n, channel * a.states, last * a.states, g.grad_A_b);
      if (a.D) add_rows(parts.D, a.batch, a.channels, channel, last, g.grad_D);
      if (a.delta_bias) add_rows(parts.bias, a.batch, a.channels, channel, last, g.grad_delta_bias);
    }
  }
  return status;
}

}  // namespace
