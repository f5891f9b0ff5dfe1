// The layout of the structs of interface.h as text, which src/audiomamba/ops/interface.py compares with its own mirrors
// of them when it loads the library: so neither side can change alone.
#pragma once
#include <cstddef>
#include <string>

#include "interface.h"

namespace {

struct Field {
  const char* name;
  size_t offset;
};

// One line: the name of the struct, its size, and the offset of every field.
template <size_t N>
std::string layout_of(const char* name, size_t size, const Field (&fields)[N]) {
  std::string text = std::string(name) + " " + std::to_string(size);
  for (const Field& field : fields) text += std::string(" ") + field.name + " " + std::to_string(field.offset);
  return text + "\n";
}

#define FIELD(name) {#name, offsetof(Struct, name)}

std::string tensor_layouts() {
  std::string text;
  {
    using Struct = AudiomambaTensor3;
    text += layout_of("Tensor3", sizeof(Struct), {FIELD(data), FIELD(batch_stride), FIELD(token_stride)});
  }
  {
    using Struct = AudiomambaTensor4;
    text += layout_of("Tensor4", sizeof(Struct),
                      {FIELD(data), FIELD(batch_stride), FIELD(token_stride), FIELD(group_stride)});
  }
  return text;
}

std::string scan_layouts() {
  std::string text;
  {
    using Struct = AudiomambaScan;
    text += layout_of("Scan", sizeof(Struct),
                      {FIELD(element), FIELD(batch), FIELD(tokens), FIELD(channels), FIELD(groups), FIELD(states),
                       FIELD(chunk_tokens), FIELD(delta_softplus), FIELD(reverse), FIELD(accumulate), FIELD(u),
                       FIELD(delta), FIELD(z), FIELD(B), FIELD(C), FIELD(A), FIELD(A_b), FIELD(D), FIELD(delta_bias),
                       FIELD(initial_state), FIELD(lengths), FIELD(order), FIELD(out), FIELD(last_state),
                       FIELD(saved)});
  }
  {
    using Struct = AudiomambaScanGradient;
    text += layout_of("ScanGradient", sizeof(Struct),
                      {FIELD(scan), FIELD(grad_out), FIELD(grad_last_state), FIELD(grad_u), FIELD(grad_delta),
                       FIELD(grad_z), FIELD(grad_B), FIELD(grad_C), FIELD(grad_A), FIELD(grad_A_b), FIELD(grad_D),
                       FIELD(grad_delta_bias), FIELD(grad_initial_state)});
  }
  return text;
}

std::string conv_layouts() {
  std::string text;
  {
    using Struct = AudiomambaConv;
    text += layout_of("Conv", sizeof(Struct),
                      {FIELD(element), FIELD(batch), FIELD(tokens), FIELD(channels), FIELD(width), FIELD(silu),
                       FIELD(reverse), FIELD(x), FIELD(weight), FIELD(bias), FIELD(lengths), FIELD(out)});
  }
  {
    using Struct = AudiomambaConvGradient;
    text += layout_of("ConvGradient", sizeof(Struct),
                      {FIELD(conv), FIELD(grad_out), FIELD(grad_x), FIELD(grad_weight), FIELD(grad_bias)});
  }
  return text;
}

std::string norm_layouts() {
  std::string text;
  {
    using Struct = AudiomambaNorm;
    text += layout_of("Norm", sizeof(Struct),
                      {FIELD(element), FIELD(rows), FIELD(channels), FIELD(eps), FIELD(x), FIELD(residual),
                       FIELD(weight), FIELD(normed), FIELD(total), FIELD(scale)});
  }
  {
    using Struct = AudiomambaNormGradient;
    text += layout_of("NormGradient", sizeof(Struct),
                      {FIELD(element), FIELD(rows), FIELD(channels), FIELD(total), FIELD(scale), FIELD(weight),
                       FIELD(grad_normed), FIELD(grad_total), FIELD(grad_x), FIELD(grad_residual),
                       FIELD(grad_weight)});
  }
  return text;
}

#undef FIELD

std::string constants() {
  return "constants 0 float32 " + std::to_string(kFloat32) +
         " bfloat16 " + std::to_string(kBFloat16) + " out_of_memory " + std::to_string(kOutOfMemory) + "\n";
}

std::string interface_layout() {
  return constants() + tensor_layouts() + scan_layouts() + conv_layouts() + norm_layouts();
}

}  // namespace
