// The measure on a GPU; work.py says which kernel runs when, docs/measure.md what they compute.
//
// Plain CUDA C++, also compiled by an ordinary C++ compiler: between two barriers all threads of a block do the same
// PHASE, which a host runs as a loop over the threads. Hence threadIdx is used only inside a PHASE, a `continue` there
// means "this thread has nothing more to do in this phase", and what a thread keeps from one phase to the next is
// PER_THREAD (registers on a GPU).
//
// Planes are float, row by row, of a batch of tiles one after the other; blockIdx.z is the tile. Sums are made in an
// order that depends neither on timing nor on how a tile is cut into strips. Sums of products are written with fmaf,
// so that every kernel that computes a number rounds it alike. source.py puts the definitions of the constants in
// capitals in front of this text.

#ifndef PHASE
#define PHASE for (bool once_ = true; once_; once_ = false, __syncthreads())
#define PER_THREAD(type, name, count) type name[count]
#define MINE(name) name
#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)  // threads, and blocks to fit at a time
extern __shared__ double shared_memory[];
#endif

typedef unsigned char u1;
typedef signed char i1;
typedef unsigned short u2;
typedef short i2;
typedef float f4;
typedef double f8;
typedef unsigned long long Key;

// State of one tile. source.py mirrors it as a NumPy type: 8 bytes a value.
struct State {
    Key keys[4];          // leading digits found so far of the pixels of ranks 0, k, N-1-k and N-1
    long long ranks[4];   // rank of that pixel among those that share these digits
    long long counts[4];  // how many share them
    double low, high;     // grey levels that become 0 and 1; equal: the tile is constant
    double saturated;     // fraction of the pixels at the tile's own smallest or largest value
    double mean;          // of the normalised tile
    long long bins[5];    // coarse bin of each median of MEDIANS
    long long left[5];    // rank of the median in its bin
    double medians[5];
    double variance, slope, grey;  // NoiseModel
    double covariances[LAGS];
};

// Index of sample i of a line of n by the boundary rule: half-sample symmetric, or circular.
__device__ inline int fold(int i, int n, int circular) {
    if ((unsigned)i < (unsigned)n) return i;
    const int period = circular ? n : 2 * n;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - 1 - i;
}

__device__ inline size_t plane_of(int rows, int cols) { return (size_t)blockIdx.z * rows * cols; }

// --- Histograms and what is read off them ----------------------------------------------------------------------------

// The bin of the element of a rank, and how many elements lie below that bin and in it.
struct Place {
    long long bin, below, count;
};

// Finds a rank in a histogram of a multiple of 256 bins, or the sum of two. All threads of a block call it. Shared
// memory: a Place, then bins / 256 sums.
__device__ inline void find_rank(const unsigned* first, const unsigned* second, int bins, long long rank) {
    Place* place = (Place*)shared_memory;
    unsigned* sums = (unsigned*)(place + 1);
    PHASE {
        for (int group = threadIdx.x; group < bins / 256; group += blockDim.x) sums[group] = 0;
    }
    PHASE {
        for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) {
            const unsigned count = first[bin] + (second ? second[bin] : 0);
            if (count) atomicAdd(&sums[bin / 256], count);
        }
    }
    PHASE {
        if (threadIdx.x) continue;
        long long below = 0;
        int group = 0;
        while (group < bins / 256 - 1 && below + sums[group] <= rank) below += sums[group++];
        int bin = 256 * group;
        unsigned count = first[bin] + (second ? second[bin] : 0);
        while (bin < 256 * group + 255 && below + count <= rank) {
            below += count;
            ++bin;
            count = first[bin] + (second ? second[bin] : 0);
        }
        *place = Place{bin, below, count};
    }
}

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
    find_rank(own, nullptr, bins, first ? start : state.ranks[r]);
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

// --- Noise -----------------------------------------------------------------------------------------------------------

// Medians of magnitudes: corner of the spectrum, slow noise down and along, corner over the darker and over the
// lighter pixels. Coarse histograms: corner of the darker, of the lighter, down, along.
constexpr int ALL = 0, DOWN = 1, ALONG = 2, DARKER = 3, LIGHTER = 4, MEDIANS = 5;

// COARSE_BINS of 1/64 octave go from 2^-24 to nearly 2^8; no fourth difference of [0, 1] exceeds 128, smaller ones
// share bin 0. In the chosen bin, elements differ in the FINE_BITS low bits of a float.
constexpr unsigned SMALLEST = (127u - 24u) << 23;
constexpr int FINE_BINS = 1 << FINE_BITS;

__device__ inline int coarse_bin(unsigned bits) {
    return bits < SMALLEST ? 0 : min((int)((bits - SMALLEST) >> FINE_BITS) + 1, COARSE_BINS - 1);
}

// A block of threads does a chunk of CHUNK_ROWS x CHUNK_COLS pixels, a thread a column.
// Histograms of magnitudes: coarse ones, or fine ones within the bins already chosen. With coarse ones, `partials`
// gets for each chunk the sums of the darker and of the lighter pixels' local mean and the number of darker pixels.
// Image: rows of the tile from `origin` on; counts rows `first` .. `last` of the tile, first a multiple of
// CHUNK_ROWS.
template <bool FINE>
__device__ void noise(const float* image, const State* states, unsigned* histograms, double* partials, int origin,
                      int image_rows, int first, int last, int rows, int cols) {
    double* sums = shared_memory;                            // 3 CHUNK_COLS
    unsigned* coarse = (unsigned*)(sums + 3 * CHUNK_COLS);   // 4 COARSE_BINS
    const State& state = states[blockIdx.z];
    const int top = first + blockIdx.y * CHUNK_ROWS;
    image += plane_of(image_rows, cols);
    histograms += (size_t)blockIdx.z * (FINE ? MEDIANS * FINE_BINS : 4 * COARSE_BINS);
    if (!FINE) {
        PHASE {
            for (int bin = threadIdx.x; bin < 4 * COARSE_BINS; bin += CHUNK_COLS) coarse[bin] = 0;
        }
    }
    PHASE {
        const int x = blockIdx.x * CHUNK_COLS + threadIdx.x;
        const double border = state.mean + MEAN_MARGIN;
        const int a = fold(x - 2, cols, 0), b = fold(x - 1, cols, 0);
        const int d = fold(x + 1, cols, 0), e = fold(x + 2, cols, 0);
        float sharp[5] = {0}, smooth[5] = {0}, sum[5] = {0};  // of the last five rows: d4, (1, 2, 1), the sum of five
        double dark = 0, light = 0, darker = 0;
#pragma unroll 5  // so that the rows before need not move from register to register
        for (int y = top - 2; x < cols && y < min(top + CHUNK_ROWS, last) + 2; ++y) {
            const float* row = image + (size_t)(fold(y, rows, 0) - origin) * cols;
            for (int i = 0; i < 4; ++i) sharp[i] = sharp[i + 1], smooth[i] = smooth[i + 1], sum[i] = sum[i + 1];
            sharp[4] = (row[a] + row[e]) - 4 * (row[b] + row[d]) + 6 * row[x];
            smooth[4] = (row[b] + row[d]) + 2 * row[x];
            sum[4] = row[a] + row[b] + row[x] + row[d] + row[e];
            if (y < top + 2) continue;
            const float corner = (sharp[0] + sharp[4]) - 4 * (sharp[1] + sharp[3]) + 6 * sharp[2];
            const float down = (smooth[0] + smooth[4]) - 4 * (smooth[1] + smooth[3]) + 6 * smooth[2];
            const float along = (sharp[1] + sharp[3]) + 2 * sharp[2];
            const float grey = (sum[0] + sum[1] + sum[2] + sum[3] + sum[4]) * (1 / 25.0f);
            const bool is_dark = grey <= border;
            const unsigned bits[3] = {__float_as_uint(fabsf(corner)), __float_as_uint(fabsf(down)),
                                      __float_as_uint(fabsf(along))};
            if (FINE) {
                const int shade = is_dark ? DARKER : LIGHTER;
                for (int m = 0; m < 3; ++m)
                    if (coarse_bin(bits[m]) == state.bins[m])
                        atomicAdd(&histograms[m * FINE_BINS + bits[m] % FINE_BINS], 1u);
                if (coarse_bin(bits[0]) == state.bins[shade])
                    atomicAdd(&histograms[shade * FINE_BINS + bits[0] % FINE_BINS], 1u);
            } else {
                atomicAdd(&coarse[(is_dark ? 0 : COARSE_BINS) + coarse_bin(bits[0])], 1u);
                atomicAdd(&coarse[2 * COARSE_BINS + coarse_bin(bits[1])], 1u);
                atomicAdd(&coarse[3 * COARSE_BINS + coarse_bin(bits[2])], 1u);
                dark += is_dark ? grey : 0;
                light += is_dark ? 0 : grey;
                darker += is_dark;
            }
        }
        if (!FINE) {
            sums[threadIdx.x] = dark;
            sums[threadIdx.x + CHUNK_COLS] = light;
            sums[threadIdx.x + 2 * CHUNK_COLS] = darker;
        }
    }
    for (int half = FINE ? 0 : CHUNK_COLS / 2; half; half /= 2) {
        PHASE {
            for (int i = 0; i < 3 && threadIdx.x < half; ++i)
                sums[threadIdx.x + i * CHUNK_COLS] += sums[threadIdx.x + i * CHUNK_COLS + half];
        }
    }
    if (!FINE) {
        PHASE {
            const size_t chunks = (size_t)((rows + CHUNK_ROWS - 1) / CHUNK_ROWS) * gridDim.x;
            const size_t chunk = blockIdx.z * chunks + (size_t)(top / CHUNK_ROWS) * gridDim.x + blockIdx.x;
            if (threadIdx.x < 3) partials[3 * chunk + threadIdx.x] = sums[threadIdx.x * CHUNK_COLS];
            for (int bin = threadIdx.x; bin < 4 * COARSE_BINS; bin += CHUNK_COLS)
                if (coarse[bin]) atomicAdd(&histograms[bin], coarse[bin]);
        }
    }
}

KERNEL(CHUNK_COLS) noise_coarse(const float* image, const State* states, unsigned* histograms, double* partials,
                                int origin, int image_rows, int first, int last, int rows, int cols) {
    noise<false>(image, states, histograms, partials, origin, image_rows, first, last, rows, cols);
}

KERNEL(CHUNK_COLS) noise_fine(const float* image, const State* states, unsigned* histograms, int origin,
                              int image_rows, int first, int last, int rows, int cols) {
    noise<true>(image, states, histograms, nullptr, origin, image_rows, first, last, rows, cols);
}

// The coarse bin of median number blockIdx.x, the element of rank (count - 1) / 2.
KERNEL(1024) noise_bins(State* states, const unsigned* histograms, const double* partials, int chunks,
                        long long size) {
    const int median = blockIdx.x;
    State& state = states[blockIdx.z];
    const unsigned* own = histograms + (size_t)blockIdx.z * 4 * COARSE_BINS;
    const unsigned* second = median == ALL ? own + COARSE_BINS : nullptr;
    if (median != ALL && median != DARKER) own += COARSE_BINS * (median == LIGHTER ? 1 : median + 1);
    partials += 3ll * chunks * blockIdx.z;
    PHASE {
        double darker = 0;  // whole numbers: any order gives the same
        for (int i = threadIdx.x; i < chunks; i += 1024) darker += partials[3 * i + 2];
        shared_memory[threadIdx.x] = darker;
    }
    for (int half = 512; half; half /= 2) {
        PHASE {
            if (threadIdx.x < half) shared_memory[threadIdx.x] += shared_memory[threadIdx.x + half];
        }
    }
    PHASE {
        if (threadIdx.x) continue;
        const long long darker = (long long)shared_memory[0];
        const long long count = median == DARKER ? darker : median == LIGHTER ? size - darker : size;
        state.left[median] = (count - 1) / 2;
    }
    find_rank(own, second, COARSE_BINS, state.left[median]);
    PHASE {
        if (threadIdx.x) continue;
        const Place place = *(const Place*)shared_memory;
        state.bins[median] = place.bin;
        state.left[median] -= place.below;
    }
}

// Median number blockIdx.x itself.
KERNEL(1024) noise_medians(State* states, const unsigned* histograms) {
    const int median = blockIdx.x;
    State& state = states[blockIdx.z];
    find_rank(histograms + ((size_t)blockIdx.z * MEDIANS + median) * FINE_BINS, nullptr, FINE_BINS, state.left[median]);
    PHASE {
        if (threadIdx.x) continue;
        const long long bin = ((const Place*)shared_memory)->bin, coarse = state.bins[median];
        state.medians[median] =
            coarse ? __uint_as_float(SMALLEST + (unsigned)((coarse - 1) << FINE_BITS) + (unsigned)bin) : 0.0;
    }
}

// --- Covariances, and the numbers of the whole tile ------------------------------------------------------------------

// Lags: down, along, falling and rising, as in measures.Covariances.
__device__ constexpr int LAG_ROWS[LAGS] = {LAG_0, LAG_1, LAG_2, LAG_3, 0, 0, 0, 0, 1, 2, 1, 2};
__device__ constexpr int LAG_COLS[LAGS] = {0, 0, 0, 0, LAG_0, LAG_1, LAG_2, LAG_3, 1, 2, -1, -2};

// Sums over a chunk of products of the centred tile with itself, shifted; geometry as in `noise`.
KERNEL(CHUNK_COLS) covariances(const float* image, const State* states, double* partials, int origin, int image_rows,
                               int first, int last, int rows, int cols) {
    double* sums = shared_memory;  // LAGS CHUNK_COLS
    const float mean = (float)states[blockIdx.z].mean;
    const int top = first + blockIdx.y * CHUNK_ROWS;
    image += plane_of(image_rows, cols);
    PHASE {
        const int x = blockIdx.x * CHUNK_COLS + threadIdx.x;
        float sum[LAGS] = {0};
        for (int y = top; x < cols && y < min(top + CHUNK_ROWS, last); ++y) {
            const float* at = image + (size_t)(y - origin) * cols + x;
            const float z = at[0] - mean;
#pragma unroll
            for (int i = 0; i < LAGS; ++i)
                if (y + LAG_ROWS[i] < rows && (unsigned)(x + LAG_COLS[i]) < (unsigned)cols)
                    sum[i] = fmaf(z, at[(long long)LAG_ROWS[i] * cols + LAG_COLS[i]] - mean, sum[i]);
        }
        for (int i = 0; i < LAGS; ++i) sums[i * CHUNK_COLS + threadIdx.x] = sum[i];
    }
    for (int half = CHUNK_COLS / 2; half; half /= 2) {
        PHASE {
            for (int i = 0; i < LAGS && threadIdx.x < half; ++i)
                sums[i * CHUNK_COLS + threadIdx.x] += sums[i * CHUNK_COLS + threadIdx.x + half];
        }
    }
    PHASE {
        const size_t chunks = (size_t)((rows + CHUNK_ROWS - 1) / CHUNK_ROWS) * gridDim.x;
        const size_t chunk = blockIdx.z * chunks + (size_t)(top / CHUNK_ROWS) * gridDim.x + blockIdx.x;
        if (threadIdx.x < LAGS) partials[LAGS * chunk + threadIdx.x] = sums[threadIdx.x * CHUNK_COLS];
    }
}

__device__ inline double robust_variance(double median, double gain) {
    const double sigma = median / NORMAL_MEDIAN;
    return sigma * sigma / gain;
}

// Covariances and the noise model from chunks: measures.row_noise_factor and measures.noise_model.
KERNEL(256) summary(State* states, const double* shades, const double* products, int chunks, int rows, int cols) {
    constexpr int SUMS = LAGS + 3;
    double* sums = shared_memory;  // 256 SUMS
    State& state = states[blockIdx.z];
    shades += 3ll * chunks * blockIdx.z;
    products += (long long)LAGS * chunks * blockIdx.z;
    PHASE {
        for (int i = 0; i < SUMS; ++i) {
            double sum = 0;
            for (int chunk = threadIdx.x; chunk < chunks; chunk += 256)
                sum += i < LAGS ? products[(size_t)LAGS * chunk + i] : shades[3ll * chunk + i - LAGS];
            sums[i * 256 + threadIdx.x] = sum;
        }
    }
    for (int half = 128; half; half /= 2) {
        PHASE {
            for (int i = 0; i < SUMS && threadIdx.x < half; ++i)
                sums[i * 256 + threadIdx.x] += sums[i * 256 + threadIdx.x + half];
        }
    }
    PHASE {
        if (threadIdx.x) continue;
        for (int i = 0; i < LAGS; ++i) {
            const long long down = rows - LAG_ROWS[i], along = cols - abs(LAG_COLS[i]);
            state.covariances[i] = down > 0 && along > 0 ? sums[i * 256] / (double)(down * along) : 0.0;
        }
        const double least = MIN_NOISE * MIN_NOISE, size = (double)rows * cols;
        const double corner = fmax(robust_variance(state.medians[ALL], 70 * 70), least);
        const double down = robust_variance(state.medians[DOWN], 70 * 6);
        const double along = robust_variance(state.medians[ALONG], 70 * 6);
        const double texture = fmax(0.0, along - corner);
        const double factor = 1 + fmax(0.0, down - along - TEXTURE_ANISOTROPY * texture) / corner;

        const double darker = sums[(LAGS + 2) * 256], lighter = size - darker;
        const double dark_grey = darker > 0 ? sums[LAGS * 256] / darker : 0.0;
        const double light_grey = lighter > 0 ? sums[(LAGS + 1) * 256] / lighter : 0.0;
        const double dark = darker > 0 ? robust_variance(state.medians[DARKER], 70 * 70) : 0.0;
        const double light = lighter > 0 ? robust_variance(state.medians[LIGHTER], 70 * 70) : 0.0;
        const bool both = darker > 0 && lighter > 0 && light_grey - dark_grey >= MIN_STEP;
        state.variance = fmax((darker * dark + lighter * light) / size * factor, least);
        state.slope = both ? fmax(0.0, (light - dark) / (light_grey - dark_grey)) * factor : 0.0;
        state.grey = (darker * dark_grey + lighter * light_grey) / size;
    }
}

// --- Spectrum --------------------------------------------------------------------------------------------------------

// kernel/power.py says what is computed. A block of threads does two neighbouring blocks of the tile, A and B, as one
// complex transform of A + i B; if A is the last of its row, B is 0. A block gets SPECTRUM_SIZE numbers: the
// SPECTRUM_KEPT that are kept, then its slow and its fine power.

constexpr int SIDE = SPECTRUM_BLOCK, PITCH = SIDE + 1;  // the pitch keeps both axes free of bank conflicts

// Where number k of a transformed line lies: its octal digits change places.
__device__ inline int swapped(int k) { return (k & 7) << 3 | k >> 3; }

// Fourier transform of four complex numbers `stride` apart.
__device__ inline void fourth(float* re, float* im, int stride) {
    float* const r[4] = {re, re + stride, re + 2 * stride, re + 3 * stride};
    float* const i[4] = {im, im + stride, im + 2 * stride, im + 3 * stride};
    const float s = *r[0] + *r[2], t = *r[0] - *r[2], u = *r[1] + *r[3], v = *r[1] - *r[3];
    const float S = *i[0] + *i[2], T = *i[0] - *i[2], U = *i[1] + *i[3], V = *i[1] - *i[3];
    *r[0] = s + u, *r[1] = t + V, *r[2] = s - u, *r[3] = t - V;
    *i[0] = S + U, *i[1] = T - v, *i[2] = S - U, *i[3] = T + v;
}

// Fourier transform of eight complex numbers; number n is turned by turns[n * turn], a cosine and a sine, unless turn
// is 0.
__device__ inline void eighth(float* re, float* im, int stride, const float2* turns, int turn) {
    constexpr float ROOT = 0.70710678f;
    float r[8], i[8];
#pragma unroll
    for (int n = 0; n < 8; ++n) r[n] = re[n * stride], i[n] = im[n * stride];
    fourth(r, i, 2);
    fourth(r + 1, i + 1, 2);
    const float u = ROOT * (r[3] + i[3]), U = ROOT * (i[3] - r[3]), v = r[5];
    const float w = ROOT * (i[7] - r[7]), W = -ROOT * (r[7] + i[7]);
    r[3] = u, i[3] = U, r[5] = i[5], i[5] = -v, r[7] = w, i[7] = W;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
        const int even = n % 4 * 2;
        const float x = n < 4 ? r[even] + r[even + 1] : r[even] - r[even + 1];
        const float y = n < 4 ? i[even] + i[even + 1] : i[even] - i[even + 1];
        const float2 by = turns[n * turn];
        re[n * stride] = turn ? by.x * x - by.y * y : x;
        im[n * stride] = turn ? by.x * y + by.y * x : y;
    }
}

// What is kept of the power of the blocks of the tile. Image: rows of the tile from `origin` on; rows of blocks from
// `first` on, `step` pixels apart; block_rows, block_cols: blocks of the tile. Sums: over squares of BLOCK pixels.
// Table: number n is the sum of `weights` times power at `places`, from starts[n] to starts[n + 1].
KERNEL(SPECTRUM_THREADS) block_power(const float* __restrict__ image, const double* sums, float* powers,
                                     const float* window, const float2* turns, const int* starts, const int* places,
                                     const float* weights, int origin, int image_rows, int first, int step,
                                     int block_rows, int block_cols, int rows, int cols) {
    double* means = shared_memory;       // 2
    float* re = (float*)(means + 2);     // SIDE PITCH
    float* im = re + SIDE * PITCH;       // SIDE PITCH
    const int row = first + blockIdx.y, col = 2 * blockIdx.x, count = min(2, block_cols - col);
    image += plane_of(image_rows, cols);
    PHASE {
        if (threadIdx.x >= 2) continue;
        const int sum_cols = (cols + BLOCK - 1) / BLOCK, sum_rows = (rows + BLOCK - 1) / BLOCK;
        const double* at = sums + ((size_t)blockIdx.z * sum_rows + row * step / BLOCK) * sum_cols +
                           (col + threadIdx.x) * step / BLOCK;
        double sum = 0;
        for (int i = 0; threadIdx.x < count && i < SIDE / BLOCK; ++i)
            for (int j = 0; j < SIDE / BLOCK; ++j) sum += at[(size_t)i * sum_cols + j];
        means[threadIdx.x] = sum / (SIDE * SIDE);
    }
    PHASE {
        const int x = threadIdx.x % SIDE;
        for (int y = threadIdx.x / SIDE; y < SIDE; y += SPECTRUM_THREADS / SIDE) {
            const float* at = image + (size_t)(row * step - origin + y) * cols + col * step + x;
            const float weight = window[y] * window[x];
            re[y * PITCH + x] = (at[0] - (float)means[0]) * weight;
            im[y * PITCH + x] = count > 1 ? (at[step] - (float)means[1]) * weight : 0.0f;
        }
    }
    // Along each axis eight transforms of eight, turned, and eight of eight again; a thread does one of a line at a
    // time, in place.
    for (int stage = 0; stage < 4; ++stage) {
        PHASE {
            const int along = stage < 2 ? PITCH : 1, across = stage < 2 ? 1 : PITCH;
            const bool far = stage % 2 == 0;
            for (int k = threadIdx.x / SIDE; k < 8; k += SPECTRUM_THREADS / SIDE) {
                const int at = threadIdx.x % SIDE * across + k * (far ? along : 8 * along);
                eighth(re + at, im + at, far ? 8 * along : along, turns, far ? k : 0);
            }
        }
    }
    PHASE {  // F(k) and F(-k) give the power of A and of B at k, and at -k, where it is the same
        for (int i = threadIdx.x; i < SIDE * (SIDE / 2 + 1); i += SPECTRUM_THREADS) {
            const int kx = i / SIDE, ky = i % SIDE;
            if (kx % (SIDE / 2) == 0 && ky > SIDE / 2) continue;  // its mirror image does it
            const int here = swapped(ky) * PITCH + swapped(kx);
            const int there = swapped((SIDE - ky) % SIDE) * PITCH + swapped((SIDE - kx) % SIDE);
            const float a = re[here] + re[there], b = im[here] - im[there];
            const float c = re[here] - re[there], d = im[here] + im[there];
            re[here] = re[there] = 0.25f * (a * a + b * b);
            im[here] = im[there] = 0.25f * (c * c + d * d);
        }
    }
    PHASE {
        const int which = threadIdx.x / SPECTRUM_SIZE, n = threadIdx.x % SPECTRUM_SIZE;
        if (which >= count) continue;
        const float* power = which ? im : re;
        float sum = 0;
        for (int i = starts[n]; i < starts[n + 1]; ++i) sum = fmaf(weights[i], power[places[i]], sum);
        const size_t block = ((size_t)blockIdx.z * block_rows + row) * block_cols + col + which;
        powers[block * SPECTRUM_SIZE + n] = sum;
    }
}

// Adds up the blocks with content of cell number blockIdx.x of the map, in order; then comes their number.
KERNEL(128) cell_power(const float* powers, double* cells, int block_rows, int block_cols) {
    const int cell_row = blockIdx.x / SPECTRUM_CELLS, cell_col = blockIdx.x % SPECTRUM_CELLS;
    const int top = (cell_row * block_rows + SPECTRUM_CELLS - 1) / SPECTRUM_CELLS;
    const int bottom = ((cell_row + 1) * block_rows + SPECTRUM_CELLS - 1) / SPECTRUM_CELLS;
    const int left = (cell_col * block_cols + SPECTRUM_CELLS - 1) / SPECTRUM_CELLS;
    const int right = ((cell_col + 1) * block_cols + SPECTRUM_CELLS - 1) / SPECTRUM_CELLS;
    PHASE {
        if (threadIdx.x > SPECTRUM_KEPT) continue;
        double sum = 0;
        for (int row = top; row < bottom; ++row)
            for (int col = left; col < right; ++col) {
                const size_t block = ((size_t)blockIdx.z * block_rows + row) * block_cols + col;
                const float* numbers = powers + block * SPECTRUM_SIZE;
                const float slow = numbers[SPECTRUM_KEPT], fine = numbers[SPECTRUM_KEPT + 1];
                if (!(slow > CONTENT_RATIO * fine && slow > CONTENT_POWER)) continue;
                sum += threadIdx.x == SPECTRUM_KEPT ? 1.0 : numbers[threadIdx.x];
            }
        cells[((size_t)blockIdx.z * SPECTRUM_CELLS * SPECTRUM_CELLS + blockIdx.x) * (SPECTRUM_KEPT + 1) + threadIdx.x] =
            sum;
    }
}

// --- The cascade -----------------------------------------------------------------------------------------------------

// A block smooths SMOOTH_COLS columns and SMOOTH_GROUPS groups of SMOOTH_ROWS rows, those `step` apart, so that
// neighbouring outputs of a thread share all but one of their inputs, which stay in registers.

// Changes by K taps to SMOOTH_ROWS pixels of a column, and these pixels themselves.
template <int K>
__device__ inline void change_down(const float* column, const float* taps, int top, int rows, int cols, int step,
                                   int circular, float offset, float* centre, float* change) {
    float v[SMOOTH_ROWS + 2 * K];
    if (top >= K * step && top + (SMOOTH_ROWS - 1 + K) * step < rows) {
        const float* above = column + (size_t)(top - K * step) * cols;
        const size_t stride = (size_t)step * cols;
#pragma unroll
        for (int j = 0; j < SMOOTH_ROWS + 2 * K; ++j) v[j] = above[j * stride] - offset;
    } else {
#pragma unroll
        for (int j = 0; j < SMOOTH_ROWS + 2 * K; ++j)
            v[j] = column[(size_t)fold(top + (j - K) * step, rows, circular) * cols] - offset;
    }
#pragma unroll
    for (int j = 0; j < SMOOTH_ROWS; ++j) {
        centre[j] = v[j + K];
        change[j] = 0;
#pragma unroll
        for (int k = 1; k <= K; ++k)
            change[j] = fmaf(taps[k - 1], fmaf(-2.0f, v[j + K], v[j + K + k] + v[j + K - k]), change[j]);
    }
}

// One step of the cascade (plan.Smooth): target and, unless `response` is null, the response t (target - plane before).
// from_image: the source is the tile, less its mean, and `before` the plane before; else the source is that plane.
// Columns `step` apart are adjacent in shared memory, so that the compiler knows the offsets of taps;
// neighbouring columns are `stride` apart, chosen so that a warp meets each bank once.
template <int K>
__device__ void smooth(const float* __restrict__ source, const float* __restrict__ before, float* __restrict__ target,
                       float* __restrict__ response, const float* __restrict__ taps, const State* states, int rows,
                       int cols, int step, int stride, float t, int circular, int from_image) {
    float* sums = (float*)shared_memory;  // (SMOOTH_GROUPS SMOOTH_ROWS, step, stride): smoothed down
    const int reach = K * step, pitch = step * stride;
    const float offset = from_image ? (float)states[blockIdx.z].mean : 0.0f;
    const size_t plane = plane_of(rows, cols);
    source += plane;
    PER_THREAD(float, centre, SMOOTH_ROWS);
    PER_THREAD(float, change, SMOOTH_ROWS);
    PHASE {
        const int group = blockIdx.y * SMOOTH_GROUPS + threadIdx.y;
        const int top = group / step * step * SMOOTH_ROWS + group % step;
        if (top >= rows) continue;
        float* own = sums + threadIdx.y * SMOOTH_ROWS * pitch;
        const int left = blockIdx.x * SMOOTH_COLS - reach;
        // The thread's own column, then some of those on both sides.
        for (int i = threadIdx.x; i < SMOOTH_COLS + 2 * reach; i += SMOOTH_COLS) {
            const int side = i - SMOOTH_COLS, at = side < 0 ? reach + i : side < reach ? side : side + SMOOTH_COLS;
            float* place = own + at % step * stride + at / step;
            float there[SMOOTH_ROWS], more[SMOOTH_ROWS];
            change_down<K>(source + fold(left + at, cols, circular), taps, top, rows, cols, step, circular, offset,
                           there, more);
#pragma unroll
            for (int j = 0; j < SMOOTH_ROWS; ++j) {
                place[j * pitch] = there[j] + more[j];
                if (side < 0) MINE(centre)[j] = there[j], MINE(change)[j] = more[j];
            }
        }
    }
    PHASE {
        const int group = blockIdx.y * SMOOTH_GROUPS + threadIdx.y;
        const int top = group / step * step * SMOOTH_ROWS + group % step;
        const int x = blockIdx.x * SMOOTH_COLS + threadIdx.x, at = reach + threadIdx.x;
        if (x >= cols) continue;
        const float* q = sums + threadIdx.y * SMOOTH_ROWS * pitch + at % step * stride + at / step;
#pragma unroll
        for (int j = 0; j < SMOOTH_ROWS; ++j, q += pitch) {
            const int y = top + j * step;
            if (y >= rows) continue;
            float sum = 0;
#pragma unroll
            for (int k = 1; k <= K; ++k) sum = fmaf(taps[k - 1], fmaf(-2.0f, q[0], q[k] + q[-k]), sum);
            sum += MINE(change)[j];
            const float value = MINE(centre)[j] + sum;
            const size_t there = plane + (size_t)y * cols + x;
            target[there] = value;
            if (response) response[there] = t * (from_image ? value - before[there] : sum);
        }
    }
}

#define SMOOTH(K)                                                                                                      \
    KERNEL(SMOOTH_COLS * SMOOTH_GROUPS, 2) smooth_##K(                                                                 \
        const float* source, const float* before, float* target, float* response, const float* taps,                   \
        const State* states, int rows, int cols, int step, int stride, float t, int circular, int from_image) {        \
        smooth<K>(source, before, target, response, taps, states, rows, cols, step, stride, t, circular, from_image);  \
    }
SMOOTH(1)
SMOOTH(2)
SMOOTH(3)
SMOOTH(4)
SMOOTH(5)
SMOOTH(6)
SMOOTH(7)
SMOOTH(8)
SMOOTH(9)
SMOOTH(10)
SMOOTH(11)
SMOOTH(12)
SMOOTH(13)
SMOOTH(14)
SMOOTH(15)
SMOOTH(16)

// Kernels of one pixel a thread take the row from blockIdx.x, which may exceed 65535.

// `smooth` in two launches, for any number of taps and any reach: the changes down the columns, into `changes`, ...
KERNEL(256) smooth_down(const float* source, float* changes, const float* taps, const State* states, int count,
                        int rows, int cols, int step, int circular, int from_image) {
    const size_t plane = plane_of(rows, cols);
    const float offset = from_image ? (float)states[blockIdx.z].mean : 0.0f;
    PHASE {
        const int x = blockIdx.y * 256 + threadIdx.x, y = blockIdx.x;
        if (x >= cols) continue;
        const float* column = source + plane + x;
        const float centre = column[(size_t)y * cols] - offset;
        float sum = 0;
        for (int k = 1; k <= count; ++k) {
            const float below = column[(size_t)fold(y + k * step, rows, circular) * cols] - offset;
            const float above = column[(size_t)fold(y - k * step, rows, circular) * cols] - offset;
            sum = fmaf(taps[k - 1], fmaf(-2.0f, centre, below + above), sum);
        }
        changes[plane + (size_t)y * cols + x] = sum;
    }
}

// ... then the rows.
KERNEL(256) smooth_along(const float* source, const float* changes, const float* before, float* target,
                         float* response, const float* taps, const State* states, int count, int rows, int cols,
                         int step, float t, int circular, int from_image) {
    const float offset = from_image ? (float)states[blockIdx.z].mean : 0.0f;
    PHASE {
        const int x = blockIdx.y * 256 + threadIdx.x;
        if (x >= cols) continue;
        const size_t row = plane_of(rows, cols) + (size_t)blockIdx.x * cols;
        const float centre = source[row + x] - offset, change = changes[row + x], both = centre + change;
        float sum = 0;
        for (int k = 1; k <= count; ++k) {
            const size_t right = row + fold(x + k * step, cols, circular);
            const size_t left = row + fold(x - k * step, cols, circular);
            const float after = (source[right] - offset) + changes[right];
            const float ahead = (source[left] - offset) + changes[left];
            sum = fmaf(taps[k - 1], fmaf(-2.0f, both, after + ahead), sum);
        }
        sum += change;
        target[row + x] = centre + sum;
        if (response) response[row + x] = t * (from_image ? centre + sum - before[row + x] : sum);
    }
}

// Every second sample (plan.Decimate); sample (0, 0) of the target is sample (top, left) of the source.
KERNEL(256) decimate(const float* source, float* target, int source_rows, int source_cols, int top, int left, int rows,
                     int cols, int circular) {
    PHASE {
        const int x = blockIdx.y * 256 + threadIdx.x, y = blockIdx.x;
        if (x >= cols) continue;
        const int from_y = fold(top + 2 * y, source_rows, circular), from_x = fold(left + 2 * x, source_cols, circular);
        target[plane_of(rows, cols) + (size_t)y * cols + x] =
            source[plane_of(source_rows, source_cols) + (size_t)from_y * source_cols + from_x];
    }
}

// --- Maximum over scale ----------------------------------------------------------------------------------------------

constexpr int DARK = 0, BRIGHT = 1;  // else both

__device__ inline float nothing() { return __uint_as_float(0xff800000u); }  // minus infinity

__device__ inline float polarised(float d, int polarity) {
    return polarity == DARK ? d : polarity == BRIGHT ? -d : fabsf(d);
}

// Merges responses of `count` scales from number `first` on, `stride` floats apart, into the maximum M over scale and
// the scale A that attains it, (rows, cols); `fresh`: they are empty. Row y of M is row top + y of a response.
KERNEL(256) merge_0(const float* responses, float* strength, u2* scale, long long stride, int count, int first,
                    int response_rows, int top, int rows, int cols, int polarity, int fresh) {
    PHASE {
        const int x = blockIdx.y * 256 + threadIdx.x, y = blockIdx.x;
        if (x >= cols) continue;
        const size_t at = plane_of(rows, cols) + (size_t)y * cols + x;
        const float* response = responses + plane_of(response_rows, cols) + (size_t)(top + y) * cols + x;
        float best = fresh ? nothing() : strength[at];
        int which = fresh ? 0 : scale[at];
        for (int i = 0; i < count; ++i) {
            const float here = polarised(response[i * stride], polarity);
            if (here > best) best = here, which = first + i;
        }
        strength[at] = best;
        scale[at] = (u2)which;
    }
}

// The same for responses on every 2^LEVEL-th pixel, (response_rows, response_cols), interpolated; sample (top, left)
// is at pixel (0, 0) of M. A block does MERGE_SIDE squared pixels.
template <int LEVEL>
__device__ void merge(const float* __restrict__ responses, float* strength, u2* scale,
                      const float* __restrict__ weights, long long stride, int count, int first, int response_rows,
                      int response_cols, int top, int left, int rows, int cols, int polarity, int fresh) {
    constexpr int SPACING = 1 << LEVEL, TAPS = 2 * HALF_WIDTH, ROWS = MERGE_SIDE / MERGE_GROUPS;
    constexpr int SAMPLES = MERGE_SIDE / SPACING + TAPS - 1;  // along each axis of the block
    constexpr int CELLS = ROWS > SPACING ? ROWS / SPACING : 1;
    float* samples = (float*)shared_memory;       // (SAMPLES, SAMPLES)
    float* across = samples + SAMPLES * SAMPLES;  // (SAMPLES, MERGE_SIDE): interpolated along rows
    responses += plane_of(response_rows, response_cols);
    PER_THREAD(float, best, ROWS);
    PER_THREAD(int, which, ROWS);
    PER_THREAD(float, mix, TAPS);
    PHASE {
        const int x = blockIdx.x * MERGE_SIDE + threadIdx.x, y = blockIdx.y * MERGE_SIDE + threadIdx.y * ROWS;
#pragma unroll
        for (int j = 0; j < ROWS; ++j) {
            const size_t at = plane_of(rows, cols) + (size_t)(y + j) * cols + x;
            const bool old = !fresh && x < cols && y + j < rows;
            MINE(best)[j] = old ? strength[at] : nothing();
            MINE(which)[j] = old ? scale[at] : 0;
        }
#pragma unroll
        for (int b = 0; b < TAPS; ++b) MINE(mix)[b] = weights[threadIdx.x % SPACING * TAPS + b];
    }
    for (int i = 0; i < count; ++i) {
        PHASE {
            const float* response = responses + i * stride;
            const int y = top + blockIdx.y * (MERGE_SIDE / SPACING) - (HALF_WIDTH - 1);
            const int x = left + blockIdx.x * (MERGE_SIDE / SPACING) - (HALF_WIDTH - 1);
            for (int k = threadIdx.y * MERGE_SIDE + threadIdx.x; k < SAMPLES * SAMPLES; k += MERGE_SIDE * MERGE_GROUPS)
                samples[k] = response[(size_t)min(y + k / SAMPLES, response_rows - 1) * response_cols +
                                      min(x + k % SAMPLES, response_cols - 1)];
        }
        PHASE {
            for (int row = threadIdx.y; row < SAMPLES; row += MERGE_GROUPS) {
                const float* near = samples + row * SAMPLES + threadIdx.x / SPACING;
                float sum = 0;
#pragma unroll
                for (int b = 0; b < TAPS; ++b) sum = fmaf(MINE(mix)[b], near[b], sum);
                across[row * MERGE_SIDE + threadIdx.x] = sum;
            }
        }
        PHASE {
            float v[CELLS + TAPS - 1];
#pragma unroll
            for (int a = 0; a < CELLS + TAPS - 1; ++a)
                v[a] = across[(threadIdx.y * ROWS / SPACING + a) * MERGE_SIDE + threadIdx.x];
#pragma unroll
            for (int j = 0; j < ROWS; ++j) {
                // Known to the compiler where a thread does whole cells.
                const int place = SPACING <= ROWS ? j % SPACING : (threadIdx.y * ROWS + j) % SPACING;
                const int cell = SPACING <= ROWS ? j / SPACING : 0;
                float sum = 0;
#pragma unroll
                for (int a = 0; a < TAPS; ++a) sum = fmaf(weights[place * TAPS + a], v[cell + a], sum);
                const float here = polarised(place ? sum : v[cell + HALF_WIDTH - 1], polarity);
                if (here > MINE(best)[j]) MINE(best)[j] = here, MINE(which)[j] = first + i;
            }
        }
    }
    PHASE {
        const int x = blockIdx.x * MERGE_SIDE + threadIdx.x, y = blockIdx.y * MERGE_SIDE + threadIdx.y * ROWS;
#pragma unroll
        for (int j = 0; j < ROWS; ++j) {
            if (x >= cols || y + j >= rows) continue;
            const size_t at = plane_of(rows, cols) + (size_t)(y + j) * cols + x;
            strength[at] = MINE(best)[j];
            scale[at] = (u2)MINE(which)[j];
        }
    }
}

#define MERGE(LEVEL)                                                                                                   \
    KERNEL(MERGE_SIDE * MERGE_GROUPS, 2) merge_##LEVEL(                                                                \
        const float* responses, float* strength, u2* scale, const float* weights, long long stride, int count,         \
        int first, int response_rows, int response_cols, int top, int left, int rows, int cols, int polarity,          \
        int fresh) {                                                                                                   \
        merge<LEVEL>(responses, strength, scale, weights, stride, count, first, response_rows, response_cols, top,     \
                     left, rows, cols, polarity, fresh);                                                               \
    }
MERGE(1)
MERGE(2)
MERGE(3)
MERGE(4)
MERGE(5)
MERGE(6)

// Merges another device's maximum and scale, for larger scales, into those found here.
KERNEL(256) merge_pair(float* strength, u2* scale, const float* other_strength, const u2* other_scale,
                       long long size) {
    PHASE {
        const long long at = (long long)blockIdx.x * 256 + threadIdx.x;
        if (at >= size || !(other_strength[at] > strength[at])) continue;
        strength[at] = other_strength[at];
        scale[at] = other_scale[at];
    }
}

// --- Features --------------------------------------------------------------------------------------------------------

struct Feature {
    int row, col, scale;
    float strength;
};

// Counts, by scale, the local maxima of M over 3 x 3 pixels above `thresholds` (by scale, for noise of unit deviation;
// null: none) times the noise at the local grey level; unless `features` is null, lists them, in any order.
// M: rows of the tile from `origin` to `end` (rows beyond are not looked at, even where the tile goes on);
// image: image_rows from image_origin on; rows first .. last of the tile are searched.
KERNEL(256) peaks(const float* strength, const u2* scale, const float* image, const State* states,
                  const double* thresholds, unsigned* counts, Feature* features, unsigned* found, int origin, int end,
                  int image_origin, int image_rows, int first, int last, int rows, int cols, int n_scales) {
    unsigned* shared = (unsigned*)shared_memory;  // n_scales
    const State& state = states[blockIdx.z];
    strength += plane_of(end - origin, cols);
    scale += plane_of(end - origin, cols);
    image += plane_of(image_rows, cols);
    PHASE {
        for (int i = threadIdx.x; i < n_scales; i += 256) shared[i] = 0;
    }
    PHASE {
        const int x = blockIdx.x * 256 + threadIdx.x, top = first + blockIdx.y * PEAK_ROWS;
        if (x >= cols) continue;
        for (int y = top; y < min(top + PEAK_ROWS, last); ++y) {
            const float* at = strength + (size_t)(y - origin) * cols + x;
            const float here = at[0];
            if (!(here > MIN_RESPONSE)) continue;
            const bool left = x > 0, right = x + 1 < cols, above = y > origin, below = y + 1 < end;
            bool peak = (!left || here > at[-1]) && (!right || here >= at[1]);
            if (above)
                peak = peak && here > at[-cols] && (!left || here > at[-cols - 1]) && (!right || here > at[-cols + 1]);
            if (below)
                peak = peak && here >= at[cols] && (!left || here >= at[cols - 1]) && (!right || here >= at[cols + 1]);
            if (!peak) continue;
            const int which = scale[at - strength];
            if (thresholds) {
                float grey = 0;
                for (int dy = -2; dy <= 2; ++dy) {
                    const float* row = image + (size_t)(fold(y + dy, rows, 0) - image_origin) * cols;
                    for (int dx = -2; dx <= 2; ++dx) grey += row[fold(x + dx, cols, 0)];
                }
                const double model = state.variance + state.slope * (grey / 25.0 - state.grey);
                const double variance = fmax(fmax(model, state.variance / 4), MIN_NOISE * MIN_NOISE);
                if (!(here > thresholds[which] * sqrt(variance))) continue;
            }
            atomicAdd(&shared[which], 1u);
            if (features) features[atomicAdd(found, 1u)] = Feature{y, x, which, here};
        }
    }
    PHASE {
        for (int i = threadIdx.x; i < n_scales; i += 256)
            if (shared[i]) atomicAdd(&counts[(size_t)blockIdx.z * n_scales + i], shared[i]);
    }
}
