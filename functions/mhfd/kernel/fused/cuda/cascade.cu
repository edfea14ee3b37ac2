// --- The cascade ----------------------------------------------------------------------------------------------------

// Of a plane of responses the maximum over scale is made from rows wanted_top .. wanted_bottom, columns wanted_left ..
// wanted_right. A thread that has none of these writes none.
__device__ inline bool is_wanted(int top, int step, int x, int wanted_top, int wanted_bottom, int wanted_left,
                                 int wanted_right) {
    return top + (SMOOTH_ROWS - 1) * step >= wanted_top && top < wanted_bottom && x >= wanted_left && x < wanted_right;
}

// A block smooths SMOOTH_COLS columns and SMOOTH_GROUPS groups of SMOOTH_ROWS rows, those `step` apart, so that
// neighbouring outputs of a thread share all but one of their inputs, which stay in registers.

// Changes by K taps to SMOOTH_ROWS pixels of a column, and these pixels themselves, from v: they and K more on either
// side.
template <int K>
__device__ inline void change_window(const float (&v)[SMOOTH_ROWS + 2 * K], const float* taps, float* centre,
                                     float* change) {
#pragma unroll
    for (int j = 0; j < SMOOTH_ROWS; ++j) {
        centre[j] = v[j + K];
        change[j] = 0;
#pragma unroll
        for (int k = 1; k <= K; ++k)
            change[j] = fmaf(taps[k - 1], fmaf(-2.0f, v[j + K], v[j + K + k] + v[j + K - k]), change[j]);
    }
}

// The same from a column of a plane; `top`: row of the first pixel, also beyond the plane.
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
    change_window<K>(v, taps, centre, change);
}

// Smooths `width` columns of a block, and the neighbours that taps along the rows reach, into `own`, the group's part
// of `sums` (see `change_along`); the first column is number `left` of the plane. Thread x, of `threads`, first does
// some of the neighbours, then column x, of which it keeps the numbers.
template <int K>
__device__ inline void columns_down(const float* source, float* own, const float* taps, int left, int width,
                                    int threads, int top, int rows, int cols, int step, int stride, int circular,
                                    float offset, float* centre, float* change) {
    const int reach = K * step, x = threadIdx.x;
    for (int i = (2 * reach + threads - 1 - x) / threads; i >= 0; --i) {
        const int side = (i - 1) * threads + x;
        const int at = i == 0 ? reach + x : side < reach ? side : side + width;
        if (i == 0 && x >= width) continue;
        float* place = own + at % step * stride + at / step;
        change_down<K>(source + fold(left - reach + at, cols, circular), taps, top, rows, cols, step, circular, offset,
                       centre, change);
#pragma unroll
        for (int j = 0; j < SMOOTH_ROWS; ++j) place[j * step * stride] = centre[j] + change[j];
    }
}

// Row, within a block, of the first pixel of a group: those of one group are `step` apart.
__device__ inline int group_top(int group, int step) { return group / step * step * SMOOTH_ROWS + group % step; }

// Changes along the rows of a block, from `sums` to `changes`: lines of `stride` and of `changes_stride`. Columns
// `step` apart are adjacent, so that the compiler knows the offsets of taps: a line holds every step-th column of a
// row. A thread does four of a line, which share all but six of their inputs.
template <int K>
__device__ inline void change_along(const float* sums, float* changes, const float* taps, int lines, int stride,
                                    int changes_stride, int quads) {
    constexpr int WINDOW = (2 * K + 7) / 4;
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < lines * quads; i += blockDim.x * blockDim.y) {
        const int line = i / quads, along = i % quads * 4;
        float v[4 * WINDOW];
#pragma unroll
        for (int n = 0; n < WINDOW; ++n) {
            const float4 four = ((const float4*)(sums + line * stride + along))[n];
            v[4 * n] = four.x, v[4 * n + 1] = four.y, v[4 * n + 2] = four.z, v[4 * n + 3] = four.w;
        }
        float sum[4] = {0, 0, 0, 0};
#pragma unroll
        for (int k = 1; k <= K; ++k)
#pragma unroll
            for (int n = 0; n < 4; ++n)
                sum[n] = fmaf(taps[k - 1], fmaf(-2.0f, v[n + K], v[n + K + k] + v[n + K - k]), sum[n]);
        *(float4*)(changes + line * changes_stride + along) = float4{sum[0], sum[1], sum[2], sum[3]};
    }
}

// Puts sample (y, x) of a plane into the next one, unless `target` is null: that has every 2^shift-th sample,
// (kept_rows, kept_cols), and reaches beyond the plane where it keeps fewer (plan.Decimate). Sample (0, 0) of the
// target is sample (top, left) of the plane, folded; so a sample has one place there, if any, for each turn of the
// fold.
__device__ inline void keep(float value, float* target, int y, int x, int rows, int cols, int circular, int shift,
                            int kept_rows, int kept_cols, int top, int left) {
    if (!target) return;
    if (!shift) {
        target[plane_of(rows, cols) + (size_t)y * cols + x] = value;
        return;
    }
    const int below = (1 << shift) - 1;
    for (int v = turn_of(top, rows); v <= turn_of(top + ((kept_rows - 1) << shift), rows); ++v) {
        const int down = place_in_turn(y, v, rows, circular) - top;
        if (down & below || (unsigned)(down >> shift) >= (unsigned)kept_rows) continue;
        for (int u = turn_of(left, cols); u <= turn_of(left + ((kept_cols - 1) << shift), cols); ++u) {
            const int along = place_in_turn(x, u, cols, circular) - left;
            if (along & below || (unsigned)(along >> shift) >= (unsigned)kept_cols) continue;
            target[plane_of(kept_rows, kept_cols) + (size_t)(down >> shift) * kept_cols + (along >> shift)] = value;
        }
    }
}

// The same for the samples of a thread, `pitch` apart in shared memory, in rows `step` apart, as far as these lie in
// first .. last. A loop of its own: in the unrolled ones that make the samples it would be most of the machine code.
__device__ inline void keep_thinned(const float* samples, int pitch, float* target, int top, int step, int first,
                                    int last, int x, int rows, int cols, int circular, int shift, int kept_rows,
                                    int kept_cols, int top_row, int left_col) {
#pragma unroll 1
    for (int j = 0; j < SMOOTH_ROWS; ++j) {
        const int y = top + j * step;
        if (y >= first && y < last)
            keep(samples[j * pitch], target, y, x, rows, cols, circular, shift, kept_rows, kept_cols, top_row, left_col);
    }
}

// One step of the cascade (plan.Smooth): target (see `keep`) and, unless `response` is null, the response
// t (target - plane before), where it is wanted.
// from_image: the source is the tile, less its mean, and `before` the plane before; else the source is that plane.
// `stride` is chosen so that a warp meets each bank of shared memory once.
template <int K>
__device__ void smooth(const float* __restrict__ source, const float* __restrict__ before, float* __restrict__ target,
                       float* __restrict__ response, const float* __restrict__ taps, const State* states, int rows,
                       int cols, int step, int stride, int quads, float t, int circular, int from_image,
                       int wanted_top, int wanted_bottom, int wanted_left, int wanted_right, int shift, int kept_rows,
                       int kept_cols, int top_row, int left_col) {
    constexpr int ROWS = SMOOTH_GROUPS * SMOOTH_ROWS;
    float* sums = (float*)shared_memory;  // (ROWS, step, stride): smoothed down
    const int pitch = step * stride;
    float* changes = sums + ROWS * pitch;  // (ROWS, step, stride): along the rows
    const float offset = from_image ? (float)states[blockIdx.z].mean : 0.0f;
    const size_t plane = plane_of(rows, cols);
    source += plane;
    PER_THREAD(float, centre, SMOOTH_ROWS);
    PER_THREAD(float, change, SMOOTH_ROWS);
    PHASE {
        const int group = blockIdx.y * SMOOTH_GROUPS + threadIdx.y;
        const int top = group_top(group, step);
        if (top >= rows) continue;
        columns_down<K>(source, sums + threadIdx.y * SMOOTH_ROWS * pitch, taps, blockIdx.x * SMOOTH_COLS, SMOOTH_COLS,
                        SMOOTH_COLS, top, rows, cols, step, stride, circular, offset, MINE(centre), MINE(change));
    }
    PHASE { change_along<K>(sums, changes, taps, ROWS * step, stride, stride, quads); }
    PHASE {
        const int group = blockIdx.y * SMOOTH_GROUPS + threadIdx.y;
        const int top = group_top(group, step);
        const int x = blockIdx.x * SMOOTH_COLS + threadIdx.x;
        if (x >= cols) continue;
        const bool wanted =
            response && is_wanted(top, step, x, wanted_top, wanted_bottom, wanted_left, wanted_right);
        float* along = changes + threadIdx.y * SMOOTH_ROWS * pitch + threadIdx.x % step * stride + threadIdx.x / step;
#pragma unroll
        for (int j = 0; j < SMOOTH_ROWS; ++j) {
            const int y = top + j * step;
            if (y >= rows) continue;
            const float sum = along[j * pitch] + MINE(change)[j];
            const float value = MINE(centre)[j] + sum;
            const size_t there = plane + (size_t)y * cols + x;
            if (target) *(shift ? along + j * pitch : target + there) = value;
            if (wanted) response[there] = t * (from_image ? value - before[there] : sum);
        }
        if (target && shift)
            keep_thinned(along, pitch, target, top, step, 0, rows, x, rows, cols, circular, shift, kept_rows, kept_cols,
                         top_row, left_col);
    }
}

#define SMOOTH(K)                                                                                                      \
    KERNEL(SMOOTH_COLS * SMOOTH_GROUPS, K <= 7 ? 3 : 2) smooth_##K(                                                    \
        const float* source, const float* before, float* target, float* response, const float* taps,                   \
        const State* states, int rows, int cols, int step, int stride, int quads, float t, int circular,               \
        int from_image, int wanted_top, int wanted_bottom, int wanted_left, int wanted_right, int shift,               \
        int kept_rows, int kept_cols, int top_row, int left_col) {                                                     \
        smooth<K>(source, before, target, response, taps, states, rows, cols, step, stride, quads, t, circular,        \
                  from_image, wanted_top, wanted_bottom, wanted_left, wanted_right, shift, kept_rows, kept_cols,       \
                  top_row, left_col);                                                                                  \
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
                         int step, float t, int circular, int from_image, int wanted_top, int wanted_bottom,
                         int wanted_left, int wanted_right, int shift, int kept_rows, int kept_cols, int top_row,
                         int left_col) {
    const float offset = from_image ? (float)states[blockIdx.z].mean : 0.0f;
    PHASE {
        const int x = blockIdx.y * 256 + threadIdx.x, y = blockIdx.x;
        if (x >= cols) continue;
        const size_t row = plane_of(rows, cols) + (size_t)y * cols;
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
        keep(centre + sum, target, y, x, rows, cols, circular, shift, kept_rows, kept_cols, top_row, left_col);
        if (response && y >= wanted_top && y < wanted_bottom && x >= wanted_left && x < wanted_right)
            response[row + x] = t * (from_image ? centre + sum - before[row + x] : sum);
    }
}
