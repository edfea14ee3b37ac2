// --- Limits of grey --------------------------------------------------------------------------------------------------

// Unsigned integers that sort as the pixels do, made from each type's bits.
__device__ inline Key key_of(u1 v) { return v; }
__device__ inline Key key_of(i1 v) { return (u1)v ^ 0x80u; }
__device__ inline Key key_of(u2 v) { return v; }
__device__ inline Key key_of(i2 v) { return (u2)v ^ 0x8000u; }
__device__ inline Key key_of(f4 v) {
    const unsigned bits = __float_as_uint(v + 0.0f);  // minus zero is zero
    return bits >> 31 ? (unsigned)~bits : bits | 0x80000000u;
}
__device__ inline Key key_of(f8 v) {
    const Key bits = (Key)__double_as_longlong(v + 0.0);
    return bits >> 63 ? ~bits : bits | 0x8000000000000000ull;
}

__device__ inline double grey_of(Key key, u1) { return (double)key; }
__device__ inline double grey_of(Key key, i1) { return (double)key - 128; }
__device__ inline double grey_of(Key key, u2) { return (double)key; }
__device__ inline double grey_of(Key key, i2) { return (double)key - 32768; }
__device__ inline double grey_of(Key key, f4) {
    const unsigned bits = (unsigned)key;
    return __uint_as_float(bits >> 31 ? bits & 0x7fffffffu : ~bits);
}
__device__ inline double grey_of(Key key, f8) {
    return __longlong_as_double((long long)(key >> 63 ? key & 0x7fffffffffffffffull : ~key));
}

// Counts the digit of `bits` bits at `shift` of the pixels' keys. In the first pass all pixels count, in histogram 0;
// later, histogram r counts the pixels with the same digits so far as the pixel of rank number r.
template <typename T>
__device__ void histogram(const T* tile, const State* states, unsigned* histograms, long long size, int bits, int shift,
                          int first) {
    unsigned* shared = (unsigned*)shared_memory;  // 256, for types of one byte
    const State& state = states[blockIdx.z];
    const size_t bins = (size_t)1 << bits;
    tile += blockIdx.z * size;
    histograms += (first ? 1 : 4) * bins * blockIdx.z;
    if (sizeof(T) == 1) {
        PHASE { shared[threadIdx.x] = 0; }
    }
    PHASE {
        for (long long i = (long long)blockIdx.x * 256 + threadIdx.x; i < size; i += 256ll * gridDim.x) {
            const Key key = key_of(tile[i]);
            const size_t digit = (key >> shift) & (bins - 1);
            if (sizeof(T) == 1) {
                atomicAdd(&shared[digit], 1u);
            } else if (first) {
                atomicAdd(&histograms[digit], 1u);
            } else {
                for (int r = 0; r < 4; ++r)
                    if (key >> (shift + bits) == state.keys[r]) atomicAdd(&histograms[r * bins + digit], 1u);
            }
        }
    }
    if (sizeof(T) == 1) {
        PHASE {
            if (shared[threadIdx.x]) atomicAdd(&histograms[threadIdx.x], shared[threadIdx.x]);
        }
    }
}

// Next digit of the pixel of rank number blockIdx.x. `rank` is that of the low limit; size: pixels of a tile.
KERNEL(1024) limits(State* states, unsigned* histograms, long long rank, long long size, int bits, int first) {
    const int r = blockIdx.x, bins = 1 << bits;
    State& state = states[blockIdx.z];
    unsigned* own = histograms + (size_t)bins * (first ? blockIdx.z : 4 * blockIdx.z + r);
    const long long start = r == 0 ? 0 : r == 1 ? rank : r == 2 ? size - 1 - rank : size - 1;
    find_rank(own, nullptr, nullptr, bins, first ? start : state.ranks[r]);
    PHASE {
        if (threadIdx.x) continue;
        const Place place = *(const Place*)shared_memory;
        state.ranks[r] = (first ? start : state.ranks[r]) - place.below;
        state.keys[r] = (first ? 0 : state.keys[r] << bits) | (Key)place.bin;
        state.counts[r] = place.count;
    }
    if (!first) {
        PHASE {  // ready for the next digit
            for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) own[bin] = 0;
        }
    }
}

// --- The normalised tile ---------------------------------------------------------------------------------------------

template <typename T>
__device__ inline void grey_limits(const State& state, double* low, double* high) {
    *low = grey_of(state.keys[1], T());
    *high = grey_of(state.keys[2], T());
    if (*low == *high) {  // almost all pixels are equal: the few others span the range
        *low = grey_of(state.keys[0], T());
        *high = grey_of(state.keys[3], T());
    }
}

__device__ inline float rescaled(double grey, double low, double high) {
    return low == high ? 0.0f : (float)fmin(fmax((grey - low) / (high - low), 0.0), 1.0);
}

// Normalises rows of the tile to [0, 1]. Row y of the image is row (first + y) modulo `period` of `tile`, which has
// `period` rows. Unless null, blocks (.., block_cols) gets the sums over squares of BLOCK pixels; row 0 begins one.
template <typename T>
__device__ void normalise(const T* __restrict__ tile, const State* states, float* __restrict__ image,
                          double* __restrict__ blocks, int first, int period, int rows, int cols, int block_first,
                          int block_rows) {
    constexpr int WIDTH = 128, LEVELS = sizeof(T) == 1 ? 256 : 0;
    double* sums = shared_memory;               // WIDTH: of the block's columns
    float* table = (float*)(sums + WIDTH);      // LEVELS: division is dear, and there are few levels
    const State& state = states[blockIdx.z];
    const int block_cols = (cols + BLOCK - 1) / BLOCK;
    tile += (size_t)blockIdx.z * period * cols;
    image += plane_of(rows, cols);
    PHASE {
        double low, high;
        grey_limits<T>(state, &low, &high);
        for (int key = threadIdx.x; key < LEVELS; key += WIDTH) table[key] = rescaled(grey_of(key, T()), low, high);
    }
    PHASE {
        const int x = blockIdx.x * WIDTH + threadIdx.x, top = blockIdx.y * BLOCK;
        double low, high, sum = 0;
        grey_limits<T>(state, &low, &high);
#pragma unroll
        for (int y = top; y < top + BLOCK; ++y) {
            if (x >= cols || y >= rows) continue;
            int row = first + y;
            while (row >= period) row -= period;
            const T grey = tile[(size_t)row * cols + x];
            const float value = LEVELS ? table[key_of(grey) & 255] : rescaled((double)grey, low, high);
            image[(size_t)y * cols + x] = value;
            sum += value;
        }
        sums[threadIdx.x] = sum;
    }
    PHASE {
        const int column = blockIdx.x * (WIDTH / BLOCK) + threadIdx.x;
        if (!blocks || threadIdx.x >= WIDTH / BLOCK || column >= block_cols) continue;
        double sum = 0;
        for (int i = 0; i < BLOCK; ++i) sum += sums[threadIdx.x * BLOCK + i];
        blocks[((size_t)blockIdx.z * block_rows + block_first + blockIdx.y) * block_cols + column] = sum;
    }
}

// The mean of the normalised tile from the sums of its blocks; also stores limits and saturation.
template <typename T>
__device__ void mean(State* states, const double* blocks, long long count, long long size) {
    State& state = states[blockIdx.z];
    blocks += blockIdx.z * count;
    PHASE {
        double sum = 0;
        for (long long i = threadIdx.x; i < count; i += 256) sum += blocks[i];
        shared_memory[threadIdx.x] = sum;
    }
    for (int half = 128; half; half /= 2) {
        PHASE {
            if (threadIdx.x < half) shared_memory[threadIdx.x] += shared_memory[threadIdx.x + half];
        }
    }
    PHASE {
        if (threadIdx.x) continue;
        grey_limits<T>(state, &state.low, &state.high);
        state.saturated = state.low == state.high ? 1.0 : (double)(state.counts[0] + state.counts[3]) / size;
        state.mean = shared_memory[0] / size;
    }
}

#define FOR_TYPE(T)                                                                                                    \
    KERNEL(256) histogram_##T(const T* tile, const State* states, unsigned* histograms, long long size, int bits,      \
                              int shift, int first) {                                                                  \
        histogram(tile, states, histograms, size, bits, shift, first);                                                 \
    }                                                                                                                  \
    KERNEL(128) normalise_##T(const T* tile, const State* states, float* image, double* blocks, int first, int period, \
                              int rows, int cols, int block_first, int block_rows) {                                   \
        normalise(tile, states, image, blocks, first, period, rows, cols, block_first, block_rows);                    \
    }                                                                                                                  \
    KERNEL(256) mean_##T(State* states, const double* blocks, long long count, long long size) {                       \
        mean<T>(states, blocks, count, size);                                                                          \
    }
FOR_TYPE(u1)
FOR_TYPE(i1)
FOR_TYPE(u2)
FOR_TYPE(i2)
FOR_TYPE(f4)
FOR_TYPE(f8)
