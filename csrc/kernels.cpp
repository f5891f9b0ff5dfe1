// All kernels for one instruction set. The build compiles this file once per instruction set, with the compiler's flags
// for it and AUDIOMAMBA_KERNELS naming the table; dispatch.cpp picks a table at run time. Everything else in here has
// internal linkage: a function shared between the copies could run with instructions that the CPU lacks.
#include "conv.h"
#include "exponentials.h"
#include "interface.h"
#include "norm.h"
#include "scan_backward.h"
#include "scan_forward.h"

namespace {

template <class Arguments>
using Kernel = int (*)(const Arguments&);

template <class Arguments, Kernel<Arguments> kFloat, Kernel<Arguments> kHalf>
int by_element(const Arguments& arguments, int64_t element) {
  return element == kBFloat16 ? kHalf(arguments) : kFloat(arguments);
}

int scan(const AudiomambaScan& a) {
  return by_element<AudiomambaScan, scan_forward<float>, scan_forward<uint16_t>>(a, a.element);
}

int scan_gradient(const AudiomambaScanGradient& g) {
  return by_element<AudiomambaScanGradient, scan_backward<float>, scan_backward<uint16_t>>(g, g.scan.element);
}

int conv(const AudiomambaConv& a) {
  return by_element<AudiomambaConv, conv_forward<float>, conv_forward<uint16_t>>(a, a.element);
}

int conv_gradient(const AudiomambaConvGradient& g) {
  return by_element<AudiomambaConvGradient, conv_backward<float>, conv_backward<uint16_t>>(g, g.conv.element);
}

int norm(const AudiomambaNorm& a) {
  return by_element<AudiomambaNorm, norm_forward<float>, norm_forward<uint16_t>>(a, a.element);
}

int norm_gradient(const AudiomambaNormGradient& g) {
  return by_element<AudiomambaNormGradient, norm_backward<float>, norm_backward<uint16_t>>(g, g.element);
}

}  // namespace

extern const AudiomambaKernels AUDIOMAMBA_KERNELS = {scan, scan_gradient, conv,         conv_gradient,
                                                    norm, norm_gradient, exponentials};
