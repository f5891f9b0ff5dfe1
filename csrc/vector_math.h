// exp2, softplus and sigmoid of a vector. benchmarks/ops/fit_polynomials.py prints the coefficients and their errors.
#pragma once
#include "vector.h"
#if defined(__AVX512DQ__)
#include <immintrin.h>
#endif

namespace {

constexpr int kTogether = 4;  // vectors whose exponentials are worked out step by step together

constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2 = 0.693147180559945309f;

// Adding and subtracting 1.5 * 2^23 rounds a float of magnitude below 2^22 to an integer, which then stands in the low
// bits of the sum. -ffast-math would remove it; the build does not use that.
constexpr float kRounder = 12582912.0f;

// 2^f for f in [-1/2, 1/2], relative error 2e-7, of Count vectors step by step together: one after the other, each would
// wait for itself. Exactly 1 at f = 0, and fitted for the least relative error of 1 - 2^f (5e-7): in a decay a = 2^x the
// error of 1 - a counts, because the memory length 1 / (1 - a) multiplies it.
template <int Count>
AUDIOMAMBA_INLINE void exp2_reduced(const Vec* f, Vec* p) {
  constexpr float kPowers[] = {9.666245431e-03f, 5.550500378e-02f, 2.402235121e-01f, 6.931471229e-01f, 1.0f};
#pragma GCC unroll 16
  for (int i = 0; i < Count; i++) p[i] = splat(1.333353925e-03f);
#pragma GCC unroll 5
  for (float power : kPowers)
#pragma GCC unroll 16
    for (int i = 0; i < Count; i++) p[i] = p[i] * f[i] + splat(power);
}

// Multiply by 2^n, for n a small integer held in the low bits of `shifted` (a sum with kRounder).
AUDIOMAMBA_INLINE Vec scale_by_power(Vec p, Vec shifted) {
  return (Vec)((IntVec)p + ((IntVec)shifted << 23));
}

// 2^x for any x: 0 below -150, infinity above 128, NaN for NaN. Replaces each x.
template <int Count>
AUDIOMAMBA_INLINE void exp2_any(Vec* x) {
  Vec f[Count], p[Count];
#if defined(__AVX512DQ__)
#pragma GCC unroll 16
  for (int i = 0; i < Count; i++) f[i] = (Vec)_mm512_reduce_ps((__m512)x[i], 8);  // x less the nearest integer
  exp2_reduced<Count>(f, p);
#pragma GCC unroll 16
  for (int i = 0; i < Count; i++) x[i] = (Vec)_mm512_scalef_ps((__m512)p[i], (__m512)(x[i] - f[i]));
#else
  Vec n[Count];
#pragma GCC unroll 16
  for (int i = 0; i < Count; i++) {
    Vec bounded = at_most(at_least(x[i], -160.0f), 160.0f);
    n[i] = bounded + splat(kRounder) - splat(kRounder);
    f[i] = bounded - n[i];
  }
  exp2_reduced<Count>(f, p);
#pragma GCC unroll 16
  for (int i = 0; i < Count; i++) {
    Vec half = n[i] * splat(0.5f) + splat(kRounder);  // 2^n = 2^(half) * 2^(n - half), both in range
    Vec rest = n[i] - (half - splat(kRounder)) + splat(kRounder);
    Vec scaled = scale_by_power(p[i], half) * scale_by_power(splat(1.0f), rest);
    x[i] = x[i] != x[i] ? x[i] : scaled;
  }
#endif
}

// Whether exp2_products is fast but right only for |d * a| below kProductLimit.
#if defined(__AVX512DQ__)
constexpr bool kProductIsLimited = false;
#else
constexpr bool kProductIsLimited = true;
#endif
constexpr float kProductLimit = 125.0f;

// 2^(d * a) of Count vectors a, which lie `Stride` floats apart. Unless `Any`, |d * a| is below kProductLimit or the
// instruction set has no limit.
template <int Count, bool Any, int Stride>
AUDIOMAMBA_INLINE void exp2_products(Vec d, const float* a, Vec* p) {
  Vec x[Count];
#pragma GCC unroll 16
  for (int i = 0; i < Count; i++) x[i] = d * load(a + i * Stride);
  if constexpr (Any || !kProductIsLimited) {
    exp2_any<Count>(x);
#pragma GCC unroll 16
    for (int i = 0; i < Count; i++) p[i] = x[i];
  } else {
    Vec shifted[Count];
#pragma GCC unroll 16
    for (int i = 0; i < Count; i++) {
      shifted[i] = x[i] + splat(kRounder);
      x[i] -= shifted[i] - splat(kRounder);
    }
    exp2_reduced<Count>(x, p);
#pragma GCC unroll 16
    for (int i = 0; i < Count; i++) p[i] = scale_by_power(p[i], shifted[i]);
  }
}

AUDIOMAMBA_INLINE Vec exp_any(Vec x) {
  Vec power = x * splat(kLog2E);
  exp2_any<1>(&power);
  return power;
}

// log(1 + x) for x in [0, 1], relative error 3e-7.
AUDIOMAMBA_INLINE Vec log1p_unit(Vec x) {
  Vec p = splat(7.265292574e-03f) * x + splat(-3.739621118e-02f);
  p = p * x + splat(9.059492499e-02f);
  p = p * x + splat(-1.466445923e-01f);
  p = p * x + splat(1.954977810e-01f);
  p = p * x + splat(-2.494798303e-01f);
  p = p * x + splat(3.333097398e-01f);
  p = p * x + splat(-4.999998212e-01f);
  return p * x * x + x;
}

// log(1 + e^x). Above 20 it equals x in float32, which is what PyTorch's threshold does.
AUDIOMAMBA_INLINE Vec softplus(Vec x) { return at_least(x, 0.0f) + log1p_unit(exp_any(-absolute(x))); }

AUDIOMAMBA_INLINE Vec sigmoid(Vec x) { return splat(1.0f) / (splat(1.0f) + exp_any(-x)); }

}  // namespace
