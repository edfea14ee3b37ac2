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
// Columns `step` apart are adjacent in shared memory, so that the compiler knows the offsets of taps; neighbouring
// columns are `stride` apart, chosen so that a warp meets each bank once. Along the rows a thread does four columns
// `step` apart, which share all but six of their inputs.
template <int K>
__device__ void smooth(const float* __restrict__ source, const float* __restrict__ before, float* __restrict__ target,
                       float* __restrict__ response, const float* __restrict__ taps, const State* states, int rows,
                       int cols, int step, int stride, int quads, float t, int circular, int from_image) {
    constexpr int ROWS = SMOOTH_GROUPS * SMOOTH_ROWS, WINDOW = (2 * K + 7) / 4;
    float* sums = (float*)shared_memory;  // (ROWS, step, stride): smoothed down
    const int reach = K * step, pitch = step * stride;
    float* changes = sums + ROWS * pitch;  // (ROWS, step, stride): along the rows
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
        // Some of the columns on both sides, then the thread's own, of which it keeps the numbers.
        for (int i = (2 * reach + SMOOTH_COLS - 1 - (int)threadIdx.x) / SMOOTH_COLS; i >= 0; --i) {
            const int side = (i - 1) * SMOOTH_COLS + threadIdx.x;
            const int at = i == 0 ? reach + threadIdx.x : side < reach ? side : side + SMOOTH_COLS;
            float* place = own + at % step * stride + at / step;
            change_down<K>(source + fold(left + at, cols, circular), taps, top, rows, cols, step, circular, offset,
                           MINE(centre), MINE(change));
#pragma unroll
            for (int j = 0; j < SMOOTH_ROWS; ++j) place[j * pitch] = MINE(centre)[j] + MINE(change)[j];
        }
    }
    PHASE {
        const int start = threadIdx.y * SMOOTH_COLS + threadIdx.x;
        for (int i = start; i < ROWS * step * quads; i += SMOOTH_COLS * SMOOTH_GROUPS) {
            const int at = i / quads * stride + i % quads * 4;  // line by line of `stride`
            float v[4 * WINDOW];
#pragma unroll
            for (int n = 0; n < WINDOW; ++n) {
                const float4 four = ((const float4*)(sums + at))[n];
                v[4 * n] = four.x, v[4 * n + 1] = four.y, v[4 * n + 2] = four.z, v[4 * n + 3] = four.w;
            }
            float sum[4] = {0, 0, 0, 0};
#pragma unroll
            for (int k = 1; k <= K; ++k)
#pragma unroll
                for (int n = 0; n < 4; ++n)
                    sum[n] = fmaf(taps[k - 1], fmaf(-2.0f, v[n + K], v[n + K + k] + v[n + K - k]), sum[n]);
            *(float4*)(changes + at) = float4{sum[0], sum[1], sum[2], sum[3]};
        }
    }
    PHASE {
        const int group = blockIdx.y * SMOOTH_GROUPS + threadIdx.y;
        const int top = group / step * step * SMOOTH_ROWS + group % step;
        const int x = blockIdx.x * SMOOTH_COLS + threadIdx.x;
        if (x >= cols) continue;
        const float* along =
            changes + threadIdx.y * SMOOTH_ROWS * pitch + threadIdx.x % step * stride + threadIdx.x / step;
#pragma unroll
        for (int j = 0; j < SMOOTH_ROWS; ++j) {
            const int y = top + j * step;
            if (y >= rows) continue;
            const float sum = along[j * pitch] + MINE(change)[j];
            const float value = MINE(centre)[j] + sum;
            const size_t there = plane + (size_t)y * cols + x;
            target[there] = value;
            if (response) response[there] = t * (from_image ? value - before[there] : sum);
        }
    }
}

#define SMOOTH(K)                                                                                                      \
    KERNEL(SMOOTH_COLS * SMOOTH_GROUPS, K <= 7 ? 3 : 2) smooth_##K(                                                    \
        const float* source, const float* before, float* target, float* response, const float* taps,                   \
        const State* states, int rows, int cols, int step, int stride, int quads, float t, int circular,               \
        int from_image) {                                                                                              \
        smooth<K>(source, before, target, response, taps, states, rows, cols, step, stride, quads, t, circular,        \
                  from_image);                                                                                         \
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
