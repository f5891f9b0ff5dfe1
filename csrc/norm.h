// Residual addition and RMSNorm, forward and backward, row by row.
//
// With h = x + residual, r = 1 / sqrt(mean(h^2) + eps) and normed = h * r * weight:
//     grad_h = r * (g * weight) - h * r^3 / channels * sum(g * weight * h) + grad_total,   g = grad_normed
//     grad_weight = sum over rows of g * h * r
#pragma once
#include <cmath>

#include "interface.h"
#include "thread.h"
#include "vector.h"

namespace {

template <class Element>
int norm_forward(const AudiomambaNorm& a) {
#pragma omp parallel num_threads(audiomamba_threads())
  {
    FlushDenormals flush;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < a.rows; row++) {
      const Element* x = static_cast<const Element*>(a.x) + row * a.channels;
      Element* normed = static_cast<Element*>(a.normed) + row * a.channels;
      const float* residual = a.residual ? a.residual + row * a.channels : nullptr;
      float* total = a.total + row * a.channels;
      Vec squares = {};
      for (int64_t i = 0; i < a.channels; i += kLanes) {
        const int lanes = static_cast<int>(a.channels - i < kLanes ? a.channels - i : kLanes);
        Vec h = load_lanes(x + i, lanes);
        if (residual) h += load_lanes(residual + i, lanes);
        store_lanes(total + i, h, lanes);
        squares += h * h;
      }
      const float scale = 1.0f / sqrtf(sum_of_lanes(squares) / static_cast<float>(a.channels) + a.eps);
      a.scale[row] = scale;
      for (int64_t i = 0; i < a.channels; i += kLanes) {
        const int lanes = static_cast<int>(a.channels - i < kLanes ? a.channels - i : kLanes);
        const Vec h = load_lanes(total + i, lanes) * splat(scale);
        store_lanes(normed + i, h * load_lanes(a.weight + i, lanes), lanes);
      }
    }
  }
  return kDone;
}

template <class Element>
AUDIOMAMBA_INLINE void norm_gradient_row(const AudiomambaNormGradient& a, int64_t row, float* grad_weight) {
  const int64_t at = row * a.channels;
  const Element* grad_normed = static_cast<const Element*>(a.grad_normed) + at;
  Element* grad_x = static_cast<Element*>(a.grad_x) + at;
  const float *total = a.total + at, *grad_total = a.grad_total ? a.grad_total + at : nullptr;
  float* grad_residual = a.grad_residual ? a.grad_residual + at : nullptr;
  const Vec scale = splat(a.scale[row]);
  Vec products = {};
  for (int64_t i = 0; i < a.channels; i += kLanes) {
    const int lanes = static_cast<int>(a.channels - i < kLanes ? a.channels - i : kLanes);
    const Vec g = load_lanes(grad_normed + i, lanes), h = load_lanes(total + i, lanes);
    products += g * load_lanes(a.weight + i, lanes) * h;
    store_lanes(grad_weight + i, load_lanes(grad_weight + i, lanes) + g * h * scale, lanes);
  }
  const float mean = sum_of_lanes(products) / static_cast<float>(a.channels);
  const Vec along = splat(mean) * scale * scale * scale;
  for (int64_t i = 0; i < a.channels; i += kLanes) {
    const int lanes = static_cast<int>(a.channels - i < kLanes ? a.channels - i : kLanes);
    Vec of_h = load_lanes(grad_normed + i, lanes) * load_lanes(a.weight + i, lanes) * scale -
               load_lanes(total + i, lanes) * along;
    if (grad_total) of_h += load_lanes(grad_total + i, lanes);
    store_lanes(grad_x + i, of_h, lanes);
    if (grad_residual) store_lanes(grad_residual + i, of_h, lanes);
  }
}

template <class Element>
int norm_backward(const AudiomambaNormGradient& a) {
  constexpr int64_t kRows = 64;  // whose shares of grad_weight are added by one thread
  const int64_t pieces = (a.rows + kRows - 1) / kRows;
  if (!call_workspace.reserve(pieces * a.channels)) return kOutOfMemory;
  float* partials = call_workspace.take(pieces * a.channels);
#pragma omp parallel num_threads(audiomamba_threads())
  {
    FlushDenormals flush;
#pragma omp for schedule(static)
    for (int64_t piece = 0; piece < pieces; piece++) {
      float* partial = partials + piece * a.channels;
      memset(partial, 0, a.channels * sizeof(float));
      const int64_t last = (piece + 1) * kRows < a.rows ? (piece + 1) * kRows : a.rows;
      for (int64_t row = piece * kRows; row < last; row++) norm_gradient_row<Element>(a, row, partial);
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < a.channels; i++) {
      float sum = 0;
      for (int64_t piece = 0; piece < pieces; piece++) sum += partials[piece * a.channels + i];
      a.grad_weight[i] = sum;
    }
  }
  return kDone;
}

}  // namespace
