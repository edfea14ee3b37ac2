// --- Noise ----------------------------------------------------------------------------------------------------------

// Medians of magnitudes: corner of the spectrum, slow noise down and along, corner over the darker and over the
// lighter pixels. Coarse histograms: corner of the darker, of the lighter, down, along.
constexpr int ALL = 0, DOWN = 1, ALONG = 2, DARKER = 3, LIGHTER = 4, MEDIANS = 5;

// COARSE_BINS of 1/64 octave go from 2^-24 to nearly 2^8; no fourth difference of [0, 1] exceeds 128, smaller ones
// share bin 0. In the chosen bin, elements differ in the FINE_BITS low bits of a float.
constexpr unsigned SMALLEST = (127u - 24u) << 23;
constexpr int FINE_BINS = 1 << FINE_BITS, FINE_SIZE = FINE_BINS + FINE_BINS / 256;  // then the sums over 256 bins

__device__ inline int coarse_bin(unsigned bits) {
    return bits < SMALLEST ? 0 : min((int)((bits - SMALLEST) >> FINE_BITS) + 1, COARSE_BINS - 1);
}

// Bits of the smallest element of a coarse bin. Bin 0 has none: its median is 0, whatever the histogram.
__device__ inline unsigned start_of(long long bin) {
    return bin ? SMALLEST + (unsigned)((bin - 1) << FINE_BITS) : 0xffffffffu - FINE_BINS;
}

__device__ inline void count_fine(unsigned* histogram, unsigned bits, unsigned start) {
    const unsigned bin = bits - start;
    if (bin >= FINE_BINS) return;
    atomicAdd(&histogram[bin], 1u);
    atomicAdd(&histogram[FINE_BINS + bin / 256], 1u);
}

constexpr int SUMS = LAGS + SHADES;  // of a chunk

// Lags: down, along, falling and rising, as in measures.Covariances.
__device__ constexpr int LAG_ROWS[LAGS] = {LAG_0, LAG_1, LAG_2, LAG_3, 0, 0, 0, 0, 1, 2, 1, 2};
__device__ constexpr int LAG_COLS[LAGS] = {0, 0, 0, 0, LAG_0, LAG_1, LAG_2, LAG_3, 1, 2, -1, -2};

// Adds, for the pixel of row y and column x at `at`, the products of the centred tile with itself, shifted.
__device__ inline void add_products(const float* at, float mean, int y, int x, int rows, int cols, float* sum) {
    const float z = at[0] - mean;
#pragma unroll
    for (int i = 0; i < LAGS; ++i)
        if (y + LAG_ROWS[i] < rows && (unsigned)(x + LAG_COLS[i]) < (unsigned)cols)
            sum[i] = fmaf(z, at[(long long)LAG_ROWS[i] * cols + LAG_COLS[i]] - mean, sum[i]);
}

// A block of threads does a chunk of CHUNK_ROWS x CHUNK_COLS pixels, a thread a column.
// Histograms of magnitudes: coarse ones, or fine ones within the bins already chosen. With coarse ones, `partials`
// gets SUMS for each chunk: of the products of `add_products`, then of the local mean of the darker and of the lighter
// pixels, and the number of darker pixels.
// Image: rows of the tile from `origin` on; counts rows `first` .. `last` of the tile, first a multiple of
// CHUNK_ROWS.
template <bool FINE>
__device__ void noise(const float* image, const State* states, unsigned* histograms, double* partials, int origin,
                      int image_rows, int first, int last, int rows, int cols) {
    unsigned* coarse = (unsigned*)shared_memory;  // 4 COARSE_BINS, and once they are done:
    double* sums = shared_memory;                 // (SUMS, CHUNK_COLS)
    const State& state = states[blockIdx.z];
    const int top = first + blockIdx.y * CHUNK_ROWS;
    image += plane_of(image_rows, cols);
    histograms += (size_t)blockIdx.z * (FINE ? MEDIANS * FINE_SIZE : 4 * COARSE_BINS);
    PER_THREAD(double, shades, SHADES);
    PER_THREAD(float, products, LAGS);
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
        unsigned starts[MEDIANS];
        for (int m = 0; FINE && m < MEDIANS; ++m) starts[m] = start_of(state.bins[m]);
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
                for (int m = 0; m < 3; ++m) count_fine(histograms + m * FINE_SIZE, bits[m], starts[m]);
                count_fine(histograms + shade * FINE_SIZE, bits[0], is_dark ? starts[DARKER] : starts[LIGHTER]);
            } else {
                atomicAdd(&coarse[(is_dark ? 0 : COARSE_BINS) + coarse_bin(bits[0])], 1u);
                atomicAdd(&coarse[2 * COARSE_BINS + coarse_bin(bits[1])], 1u);
                atomicAdd(&coarse[3 * COARSE_BINS + coarse_bin(bits[2])], 1u);
                dark += is_dark ? grey : 0;
                light += is_dark ? 0 : grey;
                darker += is_dark;
            }
        }
        if (FINE) continue;
        MINE(shades)[0] = dark, MINE(shades)[1] = light, MINE(shades)[2] = darker;
#pragma unroll
        for (int i = 0; i < LAGS; ++i) MINE(products)[i] = 0;
        for (int y = top; x < cols && y < min(top + CHUNK_ROWS, last); ++y)  // the rows just read
            add_products(image + (size_t)(y - origin) * cols + x, (float)state.mean, y, x, rows, cols, MINE(products));
    }
    if (FINE) return;
    PHASE {
        for (int bin = threadIdx.x; bin < 4 * COARSE_BINS; bin += CHUNK_COLS)
            if (coarse[bin]) atomicAdd(&histograms[bin], coarse[bin]);
    }
    PHASE {
#pragma unroll
        for (int i = 0; i < SUMS; ++i)
            sums[i * CHUNK_COLS + threadIdx.x] = i < LAGS ? MINE(products)[i] : MINE(shades)[i - LAGS];
    }
    for (int half = CHUNK_COLS / 2; half; half /= 2) {
        PHASE {
            for (int i = 0; i < SUMS && threadIdx.x < half; ++i)
                sums[i * CHUNK_COLS + threadIdx.x] += sums[i * CHUNK_COLS + threadIdx.x + half];
        }
    }
    PHASE {
        const size_t chunks = (size_t)((rows + CHUNK_ROWS - 1) / CHUNK_ROWS) * gridDim.x;
        const size_t chunk = blockIdx.z * chunks + (size_t)(top / CHUNK_ROWS) * gridDim.x + blockIdx.x;
        if (threadIdx.x < SUMS) partials[SUMS * chunk + threadIdx.x] = sums[threadIdx.x * CHUNK_COLS];
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
    partials += (long long)SUMS * chunks * blockIdx.z;
    PHASE {
        double darker = 0;  // whole numbers: any order gives the same
        for (int i = threadIdx.x; i < chunks; i += 1024) darker += partials[(size_t)SUMS * i + LAGS + 2];
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
    find_rank(own, second, nullptr, COARSE_BINS, state.left[median]);
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
    const unsigned* own = histograms + ((size_t)blockIdx.z * MEDIANS + median) * FINE_SIZE;
    find_rank(own, nullptr, own + FINE_BINS, FINE_BINS, state.left[median]);
    PHASE {
        if (threadIdx.x) continue;
        const long long bin = ((const Place*)shared_memory)->bin, coarse = state.bins[median];
        state.medians[median] =
            coarse ? __uint_as_float(start_of(coarse) + (unsigned)bin) : 0.0;
    }
}

// --- The numbers of the whole tile ----------------------------------------------------------------------------------

__device__ inline double robust_variance(double median, double gain) {
    const double sigma = median / NORMAL_MEDIAN;
    return sigma * sigma / gain;
}

// Covariances and the noise model from chunks: measures.row_noise_factor and measures.noise_model.
KERNEL(256) summary(State* states, const double* partials, int chunks, int rows, int cols) {
    double* sums = shared_memory;  // 256 SUMS
    State& state = states[blockIdx.z];
    partials += (long long)SUMS * chunks * blockIdx.z;
    PHASE {
        for (int i = 0; i < SUMS; ++i) {
            double sum = 0;
            for (int chunk = threadIdx.x; chunk < chunks; chunk += 256) sum += partials[(size_t)SUMS * chunk + i];
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
