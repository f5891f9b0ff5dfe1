// The yardstick of the scan: exponentials and nothing else, within the first-level cache.
#pragma once
#include "vector_math.h"

namespace {

constexpr int kExponentVectors = 64;  // 4 KB at most

// Compute kExponentVectors vectors of exponentials so many times; returns how many exponentials that was.
int64_t exponentials(int64_t repeats) {
  alignas(64) float exponents[kExponentVectors * kLanes], powers[kExponentVectors * kLanes];
  for (int i = 0; i < kExponentVectors * kLanes; i++) exponents[i] = -0.01f * static_cast<float>(i);
  const Vec one = splat(1.0f);
  for (int64_t repeat = 0; repeat < repeats; repeat++) {
    for (int i = 0; i < kExponentVectors; i += kTogether) {
      Vec p[kTogether];
      exp2_products<kTogether, false, kLanes>(one, exponents + i * kLanes, p);
#pragma GCC unroll 16
      for (int k = 0; k < kTogether; k++) store(powers + (i + k) * kLanes, p[k]);
    }
    __asm__ volatile("" : : "r"(powers), "r"(exponents) : "memory");  // or else all but the last would be left out
  }
  return repeats * kExponentVectors * kLanes;
}

}  // namespace
