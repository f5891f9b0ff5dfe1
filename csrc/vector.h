// A vector of floats as wide as the instruction set's registers, and its loads and stores.
//
// Written with the vector extensions of GCC and Clang: arithmetic, comparison and ?: work lane by lane, so one source
// serves AVX-512, AVX2, SSE and NEON. Elements in memory are float or bfloat16 (uint16_t holding the upper half of a
// float); in registers everything is float.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>

#define AUDIOMAMBA_INLINE __attribute__((always_inline)) static inline
#define AUDIOMAMBA_LOOP __attribute__((noinline)) static  // a loop that needs all registers for itself

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef uint32_t UintVec __attribute__((vector_size(kLanes * 4)));
typedef uint16_t HalfVec __attribute__((vector_size(kLanes * 2)));

AUDIOMAMBA_INLINE Vec splat(float x) { return x - Vec{}; }

AUDIOMAMBA_INLINE Vec load(const float* p) {
  Vec v;
  memcpy(&v, p, sizeof v);
  return v;
}

AUDIOMAMBA_INLINE void store(float* p, Vec v) { memcpy(p, &v, sizeof v); }

AUDIOMAMBA_INLINE Vec load(const uint16_t* p) {
  HalfVec h;
  memcpy(&h, p, sizeof h);
  return (Vec)(__builtin_convertvector(h, UintVec) << 16);
}

// Round to nearest, ties to even, as PyTorch does. A NaN stays one: adding the rounding bit to it could carry into
// the sign.
AUDIOMAMBA_INLINE void store(uint16_t* p, Vec v) {
  UintVec bits = (UintVec)v;
  UintVec rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  rounded = (v != v) ? bits | 0x400000u : rounded;
  HalfVec h = __builtin_convertvector(rounded >> 16, HalfVec);
  memcpy(p, &h, sizeof h);
}

// The first n lanes, the others 0.
template <class Element>
AUDIOMAMBA_INLINE Vec load_lanes(const Element* p, int n) {
  if (__builtin_expect(n >= kLanes, 1)) return load(p);
  Element padded[kLanes] = {};
  for (int i = 0; i < n; i++) padded[i] = p[i];
  return load(padded);
}

template <class Element>
AUDIOMAMBA_INLINE void store_lanes(Element* p, Vec v, int n) {
  if (__builtin_expect(n >= kLanes, 1)) return store(p, v);
  Element padded[kLanes];
  store(padded, v);
  for (int i = 0; i < n; i++) p[i] = padded[i];
}

AUDIOMAMBA_INLINE float widen(float x) { return x; }

AUDIOMAMBA_INLINE float widen(uint16_t x) {
  uint32_t bits = uint32_t{x} << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

// Both pass on a NaN in `x`; `bound` must not be one.
AUDIOMAMBA_INLINE Vec at_least(Vec x, float bound) { return splat(bound) > x ? splat(bound) : x; }
AUDIOMAMBA_INLINE Vec at_most(Vec x, float bound) { return splat(bound) < x ? splat(bound) : x; }

AUDIOMAMBA_INLINE Vec absolute(Vec x) { return (Vec)((IntVec)x & 0x7fffffff); }

AUDIOMAMBA_INLINE bool any(IntVec mask) {
  int32_t lanes[kLanes], found = 0;
  memcpy(lanes, &mask, sizeof mask);
  for (int i = 0; i < kLanes; i++) found |= lanes[i];
  return found != 0;
}

AUDIOMAMBA_INLINE float sum_of_lanes(Vec v) {
  float total = 0;
  for (int i = 0; i < kLanes; i++) total += v[i];
  return total;
}

// Lanes of a, numbered from 0, and of b, numbered from kLanes.
#if defined(__clang__)
#define AUDIOMAMBA_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define AUDIOMAMBA_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, IntVec{__VA_ARGS__})
#endif

// Lane i of the result holds a[i] + a[i ^ Step] where i & Step is 0, and b[i] + b[i ^ Step] where it is not.
template <int Step, int... Lane>
AUDIOMAMBA_INLINE Vec fold(Vec a, Vec b, std::integer_sequence<int, Lane...>) {
  return AUDIOMAMBA_SHUFFLE(a, b, ((Lane & Step) ? kLanes + Lane : Lane)...) +
         AUDIOMAMBA_SHUFFLE(a, b, ((Lane & Step) ? kLanes + (Lane ^ Step) : (Lane ^ Step))...);
}

template <int Count, int Step>
AUDIOMAMBA_INLINE void fold_all(Vec* v) {
  if constexpr (Step < kLanes) {
    constexpr int kLeft = Count > 1 ? Count / 2 : 1;
    for (int i = 0; i < kLeft; i++) v[i] = fold<Step>(v[2 * i], v[Count > 1 ? 2 * i + 1 : 0], std::make_integer_sequence<int, kLanes>{});
    fold_all<kLeft, Step * 2>(v);
  }
}

// Sum the lanes of each of Count vectors that lie one after the other; Count is a power of two.
template <int Count>
AUDIOMAMBA_INLINE void sums_of_lanes(const float* vectors, float* sums) {
  if constexpr (Count > kLanes) {
    sums_of_lanes<Count / 2>(vectors, sums);
    sums_of_lanes<Count / 2>(vectors + Count / 2 * kLanes, sums + Count / 2);
  } else {
    Vec v[Count];
    for (int i = 0; i < Count; i++) v[i] = load(vectors + i * kLanes);
    fold_all<Count, 1>(v);
    memcpy(sums, &v[0], Count * sizeof(float));
  }
}

}  // namespace
