// Enough of CUDA for an ordinary C++ compiler to run the CUDA source: blocks one after the other, and in each block the
// threads one after the other from barrier to barrier. With BACKWARDS, blocks and threads come in reverse order: a
// kernel whose result depends on the order has a race.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __restrict__
#define __constant__ static const

struct Dim3 {
    unsigned x, y, z;
};

struct float2 {
    float x, y;
};

struct float4 {
    float x, y, z, w;
};

// Several Python threads may launch at the same time.
static thread_local Dim3 gridDim, blockDim, blockIdx, threadIdx;
alignas(16) static thread_local double shared_memory[53 * 1024 / sizeof(double)];

static inline int thread_number() { return threadIdx.y * blockDim.x + threadIdx.x; }

#ifdef BACKWARDS
#define EACH(index, count) for (index = (count); index-- > 0;)
#else
#define EACH(index, count) for (index = 0; index < (count); ++index)
#endif
#define PHASE EACH(threadIdx.y, blockDim.y) EACH(threadIdx.x, blockDim.x)
#define PER_THREAD(type, name, count) static thread_local type name[1024][count]
#define MINE(name) name[thread_number()]
#define HELD(type, name, count) type (*name)[count]
#define KERNEL(...) static void

using std::max;
using std::min;

template <typename Whole>
static inline Whole atomicAdd(Whole* at, Whole value) {
    const Whole old = *at;
    *at = old + value;
    return old;
}

template <typename To, typename From>
static inline To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "of one size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float v) { return same_bits<unsigned>(v); }
static inline float __uint_as_float(unsigned v) { return same_bits<float>(v); }
static inline long long __double_as_longlong(double v) { return same_bits<long long>(v); }
static inline double __longlong_as_double(long long v) { return same_bits<double>(v); }

template <typename... Args, size_t... I>
static void call(void (*kernel)(Args...), void** args, std::index_sequence<I...>) {
    kernel(*static_cast<typename std::remove_reference<Args>::type*>(args[I])...);
}

// As cuLaunchKernel: args points to the values. Returns 0, or 1 if there are more or fewer args than the kernel takes.
template <typename... Args>
static int run(void (*kernel)(Args...), Dim3 grid, Dim3 block, size_t shared, void** args, int n_args) {
    if (n_args != (int)sizeof...(Args) || shared > sizeof shared_memory || block.x * block.y > 1024 || block.z != 1)
        return 1;
    gridDim = grid, blockDim = block;
    EACH(blockIdx.z, grid.z) EACH(blockIdx.y, grid.y) EACH(blockIdx.x, grid.x) {
        std::memset(shared_memory, 0xff, shared);  // a GPU does not clear it either
        call(kernel, args, std::index_sequence_for<Args...>());
    }
    return 0;
}

#define EXPORT(name)                                                                                                   \
    extern "C" int host_##name(const unsigned* grid, const unsigned* block, size_t shared, void** args, int n) {       \
        return run(name, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared, args, n);                \
    }
