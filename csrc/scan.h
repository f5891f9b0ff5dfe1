// What the forward and the backward scan share: how the work is divided and laid out.
//
// A task is one sample and one block of up to kBlock channels that share B and C; tasks are independent and OpenMP
// hands them out. Within a task the channels lie across the lanes of kBlockVectors vectors. Time runs in chunks of
// `chunk_tokens`, before which states are saved. Rows of u, delta, z, B and C are addressed through Rows, in the order of
// the scan: a reverse scan walks with a negative stride, another order by a table of tokens, and both are otherwise the
// same code. The second scan of a bidirectional call walks the same rows backward over what the first left in the
// working memory.
//
// The states of a block are [state][kBlock]; the loop over time keeps a group of states in registers. B and C together
// are called the maps.
#pragma once
#include <type_traits>

#include "interface.h"
#include "vector_math.h"
#include "thread.h"
#include "vector.h"

namespace {

constexpr int kBlockVectors = 4;  // 2 to 8 are within 8 % of each other, 1 is a quarter slower
constexpr int kBlock = kBlockVectors * kLanes;

// The rows of one sample in the order of the scan: equidistant, or where `order` says, walked in steps of 1 or -1.
template <class Element>
struct Rows {
  Element* first = nullptr;
  int64_t stride = 0;
  const int32_t* order = nullptr;
  int64_t step = 0;

  Element* operator[](int64_t row) const {
    if (__builtin_expect(order != nullptr, 0)) row = order[row * step];
    return first + row * stride;
  }
  explicit operator bool() const { return first != nullptr; }
};

// The work of one task.
struct Task {
  int64_t sample, group, block;
  int64_t channel;  // the first
  int width;        // channels
  int vectors;
  int64_t length;   // valid tokens of the sample
  bool reverse;
  const int32_t* order = nullptr;

  int lanes(int vector) const { return width - vector * kLanes; }  // may exceed kLanes
};

// Rows of a block to prefetch while others are worked on, one for each step of a loop over time. The default is none.
struct Stream {
  const char* row = nullptr;
  int64_t stride = 0;
  int n_lines = 0;  // cache lines of a row
  bool writes = false;

  Stream() = default;

  // n rows from `first` on; none where they reach beyond the rows there are.
  template <class Element>
  Stream(Rows<Element> rows, int64_t first, int64_t n, const Task& task) {
    if (!rows || first < 0 || first + n > task.length) return;
    row = reinterpret_cast<const char*>(rows[first]);
    if (n > 1) stride = reinterpret_cast<const char*>(rows[first + 1]) - row;  // of most, whatever the order
    n_lines = (task.width * static_cast<int>(sizeof(Element)) + 63) / 64;
    writes = !std::is_const<Element>::value;
  }

  void fetch() {
    for (int i = 0; i < n_lines; i++) {
      if (writes)
        __builtin_prefetch(row + 64 * i, 1);
      else
        __builtin_prefetch(row + 64 * i);
    }
    row += stride;
  }
};

AUDIOMAMBA_INLINE int64_t blocks_per_group(const AudiomambaScan& a, int64_t block = kBlock) {
  return (a.channels / a.groups + block - 1) / block;
}

AUDIOMAMBA_INLINE int64_t chunks(const AudiomambaScan& a) {
  return (a.tokens + a.chunk_tokens - 1) / a.chunk_tokens;
}

AUDIOMAMBA_INLINE int64_t clamped_length(const int64_t* lengths, int64_t sample, int64_t tokens) {
  if (!lengths) return tokens;
  int64_t length = lengths[sample];
  return length < 0 ? 0 : length > tokens ? tokens : length;
}

AUDIOMAMBA_INLINE Task locate(const AudiomambaScan& a, int64_t index, int64_t block = kBlock) {
  const int64_t blocks = blocks_per_group(a, block), per_group = a.channels / a.groups;
  Task task;
  task.block = index % blocks;
  task.group = index / blocks % a.groups;
  task.sample = index / blocks / a.groups;
  const int64_t left = per_group - task.block * block;
  task.channel = task.group * per_group + task.block * block;
  task.width = static_cast<int>(left < block ? left : block);
  task.vectors = (task.width + kLanes - 1) / kLanes;
  task.length = clamped_length(a.lengths, task.sample, a.tokens);
  task.reverse = a.reverse != 0;
  task.order = a.order;
  return task;
}

// The rows of one sample in the order of the scan, from a given column.
template <class Element>
AUDIOMAMBA_INLINE Rows<Element> rows_of(const AudiomambaTensor3& tensor, const Task& task,
                                        int64_t column) {
  if (!tensor.data) return {};
  Element* start = static_cast<Element*>(tensor.data) + task.sample * tensor.batch_stride + column;
  const int64_t last = task.length - 1;
  if (task.order && task.reverse) return {start, tensor.token_stride, task.order + last, -1};
  if (task.order) return {start, tensor.token_stride, task.order, 1};
  if (!task.reverse) return {start, tensor.token_stride};
  return {start + last * tensor.token_stride, -tensor.token_stride};
}

template <class Element>
AUDIOMAMBA_INLINE Rows<Element> rows_of(const AudiomambaTensor4& tensor, const Task& task) {
  AudiomambaTensor3 of_group = {tensor.data, tensor.batch_stride, tensor.token_stride};
  return rows_of<Element>(of_group, task, task.group * tensor.group_stride);
}

// Set the rows beyond the sample's length to zero.
template <class Element>
AUDIOMAMBA_INLINE void clear_padding(const AudiomambaTensor3& tensor, const Task& task,
                                     int64_t tokens) {
  if (!tensor.data) return;
  Element* start = static_cast<Element*>(tensor.data) + task.sample * tensor.batch_stride + task.channel;
  for (int64_t t = task.length; t < tokens; t++)
    memset(start + t * tensor.token_stride, 0, task.width * sizeof(Element));
}

// B and C of a sample and group as float, one row after the other: B of a row, then C of it.
template <class Element>
AUDIOMAMBA_INLINE void gather_maps(const AudiomambaScan& a, const Task& task, float* maps) {
  const Rows<const Element> B = rows_of<const Element>(a.B, task);
  const Rows<const Element> C = rows_of<const Element>(a.C, task);
  for (int64_t t = 0; t < task.length; t++, maps += 2 * a.states) {
    const Element *b = B[t], *c = C[t];
    for (int64_t n = 0; n < a.states; n++) maps[n] = widen(b[n]);
    for (int64_t n = 0; n < a.states; n++) maps[a.states + n] = widen(c[n]);
  }
}

// Copy (channels, states) of a block to or from [state][kBlock]; channels beyond the width are 0.
AUDIOMAMBA_INLINE void to_lanes(const float* rows, const Task& task, int64_t states, float factor, float* lanes) {
  for (int64_t n = 0; n < states; n++)
    for (int i = 0; i < kBlock; i++) lanes[n * kBlock + i] = i < task.width ? rows[i * states + n] * factor : 0.0f;
}

AUDIOMAMBA_INLINE void from_lanes(const float* lanes, const Task& task, int64_t states, float* rows) {
  for (int i = 0; i < task.width; i++)
    for (int64_t n = 0; n < states; n++) rows[i * states + n] = lanes[n * kBlock + i];
}

// The magnitude of delta per channel up to which the products are within the range of exp2_products.
AUDIOMAMBA_INLINE void delta_limits(const float* decay, const Task& task, int64_t states, Vec* limits) {
  for (int v = 0; v < task.vectors; v++)
    for (int64_t n = 0; n < states; n++) {
      Vec limit = splat(kProductLimit) / (absolute(load(decay + n * kBlock + v * kLanes)) + splat(1e-30f));
      limits[v] = limit < limits[v] ? limit : limits[v];
    }
}

// Where the saved states of one scan, sample, task and chunk begin: rows of the task's width, one per state.
AUDIOMAMBA_INLINE float* saved_states(const AudiomambaScan& a, const Task& task, int direction, int64_t chunk) {
  const int64_t channel = (direction * a.batch + task.sample) * a.channels + task.channel;
  return a.saved + (channel * chunks(a) + chunk * task.width) * a.states;
}

// Call body(constant, first) for groups of Most, Most / 2, ..., 1 states that together make up all.
template <int Size>
struct StateGroup {
  static constexpr int size = Size;
};

template <int Most, class Body>
AUDIOMAMBA_INLINE void for_state_groups(int64_t states, Body&& body, int64_t first = 0) {
  while (states - first >= Most) {
    body(StateGroup<Most>{}, first);
    first += Most;
  }
  if constexpr (Most > 1) {
    if (first < states) for_state_groups<Most / 2>(states, body, first);
  }
}

}  // namespace
