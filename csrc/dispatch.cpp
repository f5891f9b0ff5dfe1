// The library's exported functions: pick the instruction set, pass the call on.
#include <pthread.h>

#include <atomic>
#include <cstring>
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "interface.h"
#include "layout.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

#if defined(__x86_64__)
extern const AudiomambaKernels audiomamba_avx512, audiomamba_avx2, audiomamba_sse;
#else
extern const AudiomambaKernels audiomamba_portable;
#endif

namespace {

struct InstructionSet {
  const char* name;
  bool (*runs)();
  const AudiomambaKernels* kernels;
};

// Best first. The tests are those of the x86-64 levels v4, v3 and v2 that matter to code made of float arithmetic.
#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2");
}
bool has_sse() { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"); }

const InstructionSet kSets[] = {
    {"avx512", has_avx512, &audiomamba_avx512},
    {"avx2", has_avx2, &audiomamba_avx2},
    {"sse", has_sse, &audiomamba_sse},
};
#else
bool always() { return true; }

const InstructionSet kSets[] = {{"portable", always, &audiomamba_portable}};
#endif
constexpr int kSetCount = sizeof kSets / sizeof kSets[0];

int best() {
  for (int i = 0; i < kSetCount; i++)
    if (kSets[i].runs()) return i;
  return -1;
}

std::atomic<int>& selected() {
  static std::atomic<int> index{best()};
  return index;
}

bool forked = false;
const int fork_is_watched = pthread_atfork(nullptr, nullptr, [] { forked = true; });

const AudiomambaKernels& kernels() { return *kSets[selected().load()].kernels; }

}  // namespace

int audiomamba_threads() {
#if defined(_OPENMP)
  return forked || fork_is_watched != 0 ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

EXPORT const char* audiomamba_layout() {
  static const std::string text = interface_layout();
  return text.c_str();
}
EXPORT int audiomamba_n_instruction_sets() { return kSetCount; }
EXPORT const char* audiomamba_instruction_set_name(int index) { return kSets[index].name; }
EXPORT int audiomamba_instruction_set_runs(int index) { return kSets[index].runs() ? 1 : 0; }
EXPORT int audiomamba_selected_instruction_set() { return selected().load(); }

EXPORT void audiomamba_select_instruction_set(const char* name) {
  for (int i = 0; i < kSetCount; i++)
    if (kSets[i].runs() && strcmp(kSets[i].name, name) == 0) selected().store(i);
}

EXPORT int audiomamba_scan(const AudiomambaScan* a) { return kernels().scan(*a); }
EXPORT int audiomamba_scan_gradient(const AudiomambaScanGradient* g) { return kernels().scan_gradient(*g); }
EXPORT int audiomamba_conv(const AudiomambaConv* a) { return kernels().conv(*a); }
EXPORT int audiomamba_conv_gradient(const AudiomambaConvGradient* g) { return kernels().conv_gradient(*g); }
EXPORT int audiomamba_norm(const AudiomambaNorm* a) { return kernels().norm(*a); }
EXPORT int audiomamba_norm_gradient(const AudiomambaNormGradient* g) { return kernels().norm_gradient(*g); }
EXPORT int64_t audiomamba_exponentials(int64_t repeats) { return kernels().exponentials(repeats); }
