// The C interface between the Python package and the kernels: plain structs of sizes, pointers and strides.
// src/audiomamba/ops/interface.py mirrors these structs field by field; layout.h tells it their layout, and a library of
// another layout is refused. Whoever changes what a field means renames the field.
//
// Strides count elements, not bytes. The last axis of every array is contiguous. A pointer may be null where the
// comment says "or null". State and weight arrays are float32 and contiguous; u, delta, z, B, C, x, out and their
// gradients are of the call's element type.
#pragma once
#include <cstdint>

enum AudiomambaElement : int64_t { kFloat32 = 0, kBFloat16 = 1 };
enum AudiomambaStatus : int { kDone = 0, kOutOfMemory = 1 };

struct AudiomambaTensor3 {  // (batch, tokens, columns)
  void* data;
  int64_t batch_stride, token_stride;
};

struct AudiomambaTensor4 {  // (batch, tokens, groups, columns)
  void* data;
  int64_t batch_stride, token_stride, group_stride;
};

struct AudiomambaScan {
  int64_t element;
  int64_t batch, tokens, channels, groups, states;
  int64_t chunk_tokens;    // a state is saved every so many tokens
  int64_t delta_softplus;  // 0 or 1
  int64_t reverse;         // 0 or 1; 0 where A_b is given
  int64_t accumulate;      // 0 or 1: add to what out holds; in the gradient, to what grad_u holds
  AudiomambaTensor3 u, delta;
  AudiomambaTensor3 z;  // data or null
  AudiomambaTensor4 B, C;
  const float* A;              // (channels, states)
  const float* A_b;            // (channels, states) of a second scan against the first, added to it; or null
  const float* D;              // (channels) or null
  const float* delta_bias;     // (channels) or null
  const float* initial_state;  // (batch, channels, states) or null
  const int64_t* lengths;      // (batch) or null
  const int32_t* order;        // (tokens), the token of each step; or null for 0, 1, 2 ...; null where lengths are given
  AudiomambaTensor3 out;
  float* last_state;  // (batch, channels, states) or null; null where A_b is given
  float* saved;       // 1 or 2 scans x batch x ceil(tokens / chunk_tokens) x states x channels, as it pleases; or null
};

struct AudiomambaScanGradient {
  AudiomambaScan scan;  // as in the forward call; out, if not null, is written again; last_state is not used
  AudiomambaTensor3 grad_out;         // may be scan.out
  const float* grad_last_state;  // (batch, channels, states) or null
  AudiomambaTensor3 grad_u;
  AudiomambaTensor3 grad_delta;       // may be scan.delta
  AudiomambaTensor3 grad_z;           // data null where z is
  float* grad_B;                      // (batch, tokens, groups, states), float32
  float* grad_C;                      // (batch, tokens, groups, states), float32
  float* grad_A;                      // (channels, states)
  float* grad_A_b;                    // (channels, states); null where A_b is
  float* grad_D;                      // (channels); null where D is
  float* grad_delta_bias;             // (channels); null where delta_bias is
  float* grad_initial_state;          // (batch, channels, states) or null
};

struct AudiomambaConv {
  int64_t element;
  int64_t batch, tokens, channels, width;
  int64_t silu;     // 0 or 1
  int64_t reverse;  // 0 or 1
  AudiomambaTensor3 x;
  const float* weight;     // (channels, width)
  const float* bias;       // (channels) or null
  const int64_t* lengths;  // (batch) or null
  AudiomambaTensor3 out;
};

struct AudiomambaConvGradient {
  AudiomambaConv conv;  // as in the forward call; out is not used
  AudiomambaTensor3 grad_out;
  AudiomambaTensor3 grad_x;
  float* grad_weight;  // (channels, width)
  float* grad_bias;    // (channels); null where bias is
};

struct AudiomambaNorm {
  int64_t element;
  int64_t rows, channels;
  float eps;
  const void* x;          // (rows, channels)
  const float* residual;  // (rows, channels) or null
  const float* weight;    // (channels)
  void* normed;           // (rows, channels)
  float* total;           // (rows, channels), x + residual
  float* scale;           // (rows), 1 / root mean square
};

struct AudiomambaNormGradient {
  int64_t element;
  int64_t rows, channels;
  const float* total;
  const float* scale;
  const float* weight;
  const void* grad_normed;  // (rows, channels)
  const float* grad_total;  // (rows, channels) or null
  void* grad_x;             // (rows, channels)
  float* grad_residual;     // (rows, channels) or null
  float* grad_weight;       // (channels)
};

// One set of kernels per instruction set; all but the last return an AudiomambaStatus.
struct AudiomambaKernels {
  int (*scan)(const AudiomambaScan&);
  int (*scan_gradient)(const AudiomambaScanGradient&);
  int (*conv)(const AudiomambaConv&);
  int (*conv_gradient)(const AudiomambaConvGradient&);
  int (*norm)(const AudiomambaNorm&);
  int (*norm_gradient)(const AudiomambaNormGradient&);
  int64_t (*exponentials)(int64_t repeats);  // how many it computed, on one thread
};
