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
