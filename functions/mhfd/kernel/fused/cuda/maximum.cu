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
