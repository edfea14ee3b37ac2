// --- Maximum over scale ----------------------------------------------------------------------------------------------

constexpr int DARK = 0, BRIGHT = 1;  // else both

__device__ inline float polarised(float d, int polarity) {
    return polarity == DARK ? d : polarity == BRIGHT ? -d : fabsf(d);
}

// One launch merges the responses of up to three successive levels into the maximum M over scale and the scale A that
// attains it, (rows, cols), larger scales last: M and A go through memory once. `finest`: of level 0, with as many
// columns, row finest_top + y for row y of M; then those of LEVEL and of LEVEL + 1; a count of 0: none. Planes of a
// level are `stride` floats apart; planes of the finest whose bit of finest_folded is set hold two scales (pair.cu);
// `fresh`: M and A are empty.
//
// Unless `counts` is null, these are all scales of all of the tile: then features are counted, and M and A stay where
// they are but for their `Lines`, in `seams`.
//
// Responses on every 2^LEVEL-th pixel, (response_rows, response_cols), are interpolated. Sample (top, left) is at pixel
// (0, 0) of M. A block does MERGE_SIDE squared pixels, a thread MERGE_ROWS of a column.

constexpr int MERGE_ROWS = MERGE_SIDE / MERGE_GROUPS, MERGE_THREADS = MERGE_SIDE * MERGE_GROUPS;
constexpr int NEAR = 2 * HALF_WIDTH;  // samples along an axis that a pixel is made from

// Weight of sample number `a` for pixels that are `place` pixels beyond theirs.
template <int LEVEL>
__device__ inline float interpolator(int place, int a) {
    return INTERPOLATORS[((1 << LEVEL) - 2 + place) * NEAR + a];
}

// The maximum over the scales of one level, into what each thread has found so far.
template <int LEVEL>
__device__ inline void merge_level(const float* __restrict__ responses, long long stride, int count, int first,
                                   int response_rows, int response_cols, int top, int left, int polarity,
                                   HELD(float, best, MERGE_ROWS), HELD(int, which, MERGE_ROWS)) {
    constexpr int SPACING = 1 << LEVEL, CELLS = MERGE_SIDE / SPACING;
    constexpr int SAMPLES = CELLS + NEAR - 1;               // along each axis of the block
    constexpr int PLACES = SPACING < 4 ? SPACING : 4;       // of a cell that a thread interpolates at a time
    constexpr int APART = (3 * CELLS + 1) / 2;              // this meets each bank of shared memory once
    constexpr int PITCH = SPACING * APART;
    constexpr int TALL = MERGE_ROWS > SPACING ? MERGE_ROWS / SPACING : 1;  // cells of a thread
    float* samples = (float*)shared_memory;       // (SAMPLES, SAMPLES)
    float* across = samples + SAMPLES * SAMPLES;  // (SAMPLES, SPACING, APART): interpolated along rows
    responses += plane_of(response_rows, response_cols);
    for (int i = 0; i < count; ++i) {
        PHASE {
            const float* response = responses + i * stride;
            const int y = top + blockIdx.y * CELLS - (HALF_WIDTH - 1), x = left + blockIdx.x * CELLS - (HALF_WIDTH - 1);
            if (threadIdx.x >= SAMPLES) continue;
            const int col = min(x + (int)threadIdx.x, response_cols - 1);
            for (int row = threadIdx.y; row < SAMPLES; row += MERGE_GROUPS)
                samples[row * SAMPLES + threadIdx.x] =
                    response[(size_t)min(y + row, response_rows - 1) * response_cols + col];
        }
        PHASE {
            constexpr int PARTS = SPACING / PLACES;
            for (int k = threadIdx.y * MERGE_SIDE + threadIdx.x; k < SAMPLES * CELLS * PARTS; k += MERGE_THREADS) {
                const int cell = k % CELLS, row = k / CELLS % SAMPLES, part = k / CELLS / SAMPLES;
                const float* near = samples + row * SAMPLES + cell;
                float v[NEAR];
#pragma unroll
                for (int b = 0; b < NEAR; ++b) v[b] = near[b];
                float* pixels = across + row * PITCH + part * PLACES * APART + cell;
#pragma unroll
                for (int p = 0; p < PLACES; ++p) {
                    float sum = 0;
#pragma unroll
                    for (int b = 0; b < NEAR; ++b) sum = fmaf(interpolator<LEVEL>(part * PLACES + p, b), v[b], sum);
                    pixels[p * APART] = PARTS == 1 && p == 0 ? v[HALF_WIDTH - 1] : sum;
                }
            }
        }
        PHASE {
            const float* column = across + threadIdx.y * MERGE_ROWS / SPACING * PITCH +
                                  threadIdx.x % SPACING * APART + threadIdx.x / SPACING;
            float v[TALL + NEAR - 1];
#pragma unroll
            for (int a = 0; a < TALL + NEAR - 1; ++a) v[a] = column[a * PITCH];
#pragma unroll
            for (int j = 0; j < MERGE_ROWS; ++j) {
                // Known to the compiler where a thread does whole cells.
                const int place = SPACING <= MERGE_ROWS ? j % SPACING : (threadIdx.y * MERGE_ROWS + j) % SPACING;
                const int cell = SPACING <= MERGE_ROWS ? j / SPACING : 0;
                float sum = 0;
#pragma unroll
                for (int a = 0; a < NEAR; ++a) sum = fmaf(interpolator<LEVEL>(place, a), v[cell + a], sum);
                const float here = polarised(place ? sum : v[cell + HALF_WIDTH - 1], polarity);
                if (here > MINE(best)[j]) MINE(best)[j] = here, MINE(which)[j] = first + i;
            }
        }
    }
}

// The same for responses on every pixel.
__device__ inline void merge_finest(const float* __restrict__ responses, long long stride, int count, int folded,
                                    int first, int response_rows, int top, int rows, int cols, int polarity,
                                    HELD(float, best, MERGE_ROWS), HELD(int, which, MERGE_ROWS)) {
    responses += plane_of(response_rows, cols);
    PHASE {
        const int x = blockIdx.x * MERGE_SIDE + threadIdx.x, y = blockIdx.y * MERGE_SIDE + threadIdx.y * MERGE_ROWS;
        if (x >= cols) continue;
#pragma unroll
        for (int j = 0; j < MERGE_ROWS; ++j) {
            if (y + j >= rows) continue;
            const float* response = responses + (size_t)(top + y + j) * cols + x;
            int scale = first;
            for (int i = 0; i < count; ++i) {
                const int two = folded >> i & 1;
                const float value = response[i * stride], here = two ? fabsf(value) : polarised(value, polarity);
                if (here > MINE(best)[j]) MINE(best)[j] = here, MINE(which)[j] = scale + (two && value < 0);
                scale += 1 + two;
            }
        }
    }
}

// Counts the features of a block, from the M and A of each thread, and leaves its lines for those at the seams.
__device__ inline void search_block(HELD(float, best, MERGE_ROWS), HELD(int, which, MERGE_ROWS), float* seams,
                                    const Search& search) {
    float* strength = (float*)shared_memory;  // MERGE_SIDE squared
    const Found here = found_at(strength + MERGE_SIDE * MERGE_SIDE, search.n_scales);
    const int top = blockIdx.y * MERGE_SIDE, left = blockIdx.x * MERGE_SIDE;
    clear(here, search.n_scales);
    PHASE {
        const int col = threadIdx.x, row = threadIdx.y * MERGE_ROWS;
        Lines down, along;
        lines_of(seams, search.rows, search.cols, &down, &along);
#pragma unroll
        for (int j = 0; j < MERGE_ROWS; ++j) {
            const bool inside = top + row + j < search.rows && left + col < search.cols;
            strength[(row + j) * MERGE_SIDE + col] = inside ? MINE(best)[j] : nothing();
            if (!inside) continue;
            leave(down, blockIdx.y, row + j, search.cols, left + col, MINE(best)[j], MINE(which)[j]);
            leave(along, blockIdx.x, col, search.rows, top + row + j, MINE(best)[j], MINE(which)[j]);
        }
    }
    PHASE {
        const int col = threadIdx.x, row = threadIdx.y * MERGE_ROWS;
        if (left + col >= search.cols || at_seam(left + col, search.cols)) continue;
        float above[3], level[3], below[3];
        three(strength, row - 1, 0, MERGE_SIDE, col, MERGE_SIDE, above);
        three(strength, row, 0, MERGE_SIDE, col, MERGE_SIDE, level);
#pragma unroll
        for (int j = 0; j < MERGE_ROWS; ++j) {
            three(strength, row + j + 1, 0, MERGE_SIDE, col, MERGE_SIDE, below);
            if (is_maximum(above, level, below) && !at_seam(top + row + j, search.rows))
                list(here, level[1], MINE(which)[j], row + j, col);
#pragma unroll
            for (int i = 0; i < 3; ++i) above[i] = level[i], level[i] = below[i];
        }
    }
    count_features(here, search, top, left);
}

template <int LEVEL>
__device__ void merge(const float* finest, long long finest_stride, int finest_count, int finest_folded,
                      int finest_first, int finest_rows, int finest_top, const float* responses, long long stride,
                      int count, int first, int response_rows, int response_cols, int top, int left,
                      const float* coarser, long long coarser_stride, int coarser_count, int coarser_first,
                      int coarser_rows, int coarser_cols, int coarser_top, int coarser_left, float* strength,
                      u2* scale, int rows, int cols, int polarity, int fresh, float* seams, const float* image, const State* states,
                      const double* thresholds, unsigned* counts, Feature* features, unsigned* found, int n_scales) {
    PER_THREAD(float, best, MERGE_ROWS);
    PER_THREAD(int, which, MERGE_ROWS);
    PHASE {
#pragma unroll
        for (int j = 0; j < MERGE_ROWS; ++j) MINE(best)[j] = nothing(), MINE(which)[j] = 0;
    }
    merge_finest(finest, finest_stride, finest_count, finest_folded, finest_first, finest_rows, finest_top, rows, cols,
                 polarity, best, which);
    merge_level<LEVEL>(responses, stride, count, first, response_rows, response_cols, top, left, polarity, best, which);
    if constexpr (LEVEL < MAX_LEVEL) {
        if (coarser_count)
            merge_level<LEVEL + 1>(coarser, coarser_stride, coarser_count, coarser_first, coarser_rows, coarser_cols,
                                   coarser_top, coarser_left, polarity, best, which);
    }
    PHASE {
        const int x = blockIdx.x * MERGE_SIDE + threadIdx.x, y = blockIdx.y * MERGE_SIDE + threadIdx.y * MERGE_ROWS;
#pragma unroll
        for (int j = 0; j < MERGE_ROWS; ++j) {
            if (x >= cols || y + j >= rows) continue;
            const size_t at = plane_of(rows, cols) + (size_t)(y + j) * cols + x;
            const bool grows = fresh || MINE(best)[j] > strength[at];
            if (counts) {
                if (!grows) MINE(best)[j] = strength[at], MINE(which)[j] = scale[at];
            } else if (grows) {
                strength[at] = MINE(best)[j];
                scale[at] = (u2)MINE(which)[j];
            }
        }
    }
    if (!counts) return;
    search_block(best, which, seams, search_of(image, states, thresholds, counts, features, found, 0, rows, rows, cols,
                                               n_scales));
}

#define MERGE(LEVEL)                                                                                                   \
    KERNEL(MERGE_THREADS, 2) merge_##LEVEL(                                                                            \
        const float* finest, long long finest_stride, int finest_count, int finest_folded, int finest_first,           \
        int finest_rows, int finest_top, const float* responses, long long stride, int count, int first,               \
        int response_rows, int response_cols, int top, int left, const float* coarser, long long coarser_stride,       \
        int coarser_count, int coarser_first, int coarser_rows, int coarser_cols, int coarser_top, int coarser_left,   \
        float* strength, u2* scale, int rows, int cols, int polarity, int fresh, float* seams, const float* image,     \
        const State* states, const double* thresholds, unsigned* counts, Feature* features, unsigned* found,           \
        int n_scales) {                                                                                                \
        merge<LEVEL>(finest, finest_stride, finest_count, finest_folded, finest_first, finest_rows, finest_top,        \
                     responses, stride, count, first, response_rows, response_cols, top, left, coarser,                \
                     coarser_stride, coarser_count, coarser_first, coarser_rows, coarser_cols, coarser_top,            \
                     coarser_left, strength, scale, rows, cols, polarity, fresh, seams, image, states, thresholds,     \
                     counts, features, found, n_scales);                                                               \
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
