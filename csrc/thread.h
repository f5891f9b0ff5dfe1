// The threads of a kernel, and what each sets up: flushing of denormals and working memory.
#pragma once
#include <cstdint>
#include <cstdlib>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

// How many threads a kernel may use: PyTorch's number; 1 in a forked child, where the parent's OpenMP
// threads do not exist and waiting for them would never end.
int audiomamba_threads();

namespace {

// Flush denormals to zero in this thread until the end of the scope, then restore the caller's mode. Silence makes
// states decay into denormals, on which x86 is 5 to 18 times slower; the mode belongs to a thread, so setting it in the
// calling thread alone would not reach the others.
class FlushDenormals {
 public:
#if defined(__SSE__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }  // FTZ and DAZ
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  FlushDenormals() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
    __asm__ volatile("msr fpcr, %0" : : "r"(saved_ | (uint64_t{1} << 24)));  // FZ
  }
  ~FlushDenormals() { __asm__ volatile("msr fpcr, %0" : : "r"(saved_)); }

 private:
  uint64_t saved_;
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

// Working memory of one thread, kept between calls because fresh pages cost more than the kernels' arithmetic.
class Workspace {
 public:
  ~Workspace() { free(memory_); }

  // Forget what was taken and make room for `n_floats`; false if there is no memory.
  bool reserve(int64_t n_floats) {
    used_ = 0;
    if (n_floats <= capacity_) return true;
    free(memory_);
    capacity_ = (n_floats + n_floats / 4 + 1023) / 1024 * 1024;  // grow by a quarter, whole pages
    memory_ = static_cast<float*>(aligned_alloc(4096, capacity_ * sizeof(float)));
    if (!memory_) capacity_ = 0;
    return memory_ != nullptr;
  }

  float* take(int64_t n_floats) {
    float* taken = memory_ + used_;
    used_ += padded(n_floats);
    return taken;
  }

  // The room that take(n_floats) uses: whole cache lines.
  static int64_t padded(int64_t n_floats) { return (n_floats + 15) / 16 * 16; }

 private:
  float* memory_ = nullptr;
  int64_t capacity_ = 0, used_ = 0;
};

thread_local Workspace thread_workspace;  // of each thread of a kernel
thread_local Workspace call_workspace;    // of the calling thread, shared by the kernel's threads

}  // namespace
