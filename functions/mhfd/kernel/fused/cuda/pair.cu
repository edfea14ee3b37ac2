// --- Two steps of the cascade in one launch -------------------------------------------------------------------------

// The plane between two steps never goes through memory. A block walks down PAIR_COLS columns, PAIR_ROWS rows at a
// time:
//
//     source, in memory -> first step -> the plane between: its last rows, in shared memory -> second step -> target
//
// The second step looks `reach` pixels around, so the first one is `reach` rows ahead of it and does as many columns
// more on either side; thread x does column x of them in both steps. Only at the start of the `span` rows of a block
// is the first step made for rows that another block makes, too. Beyond the borders of the plane the first step is
// made from folded samples: that is the folded plane, to the last bit.

constexpr int PAIR_ROWS = PAIR_GROUPS * SMOOTH_ROWS;

// As `smooth`; the second step's arguments begin with `next`. `middle_response`: of the first step, or null, as
// `target` and `response` may be. If it is `response`, that plane gets both, folded: the larger one, at least 0 since no
// feature is less, with a minus sign if it is the second step's. Strides and quads as in `change_along`; sums_size,
// changes_size: floats for either step.
template <int K, int L>
__device__ void pair(const float* __restrict__ source, float* middle_response, float* __restrict__ target,
                     float* response, const float* __restrict__ taps, const float* __restrict__ next_taps,
                     const State* states, int rows, int cols, int span, int step, int stride, int changes_stride,
                     int quads, float t, int next_step, int next_stride, int next_quads, float next_t, int sums_size,
                     int changes_size, int circular, int from_image, int wanted_top, int wanted_bottom, int wanted_left,
                     int wanted_right, int shift, int kept_rows, int kept_cols, int top_row, int left_col) {
    const int before = K * step, reach = L * next_step, width = PAIR_COLS + 2 * reach;
    const int kept = 2 * reach + PAIR_ROWS;
    const int pitch = step * stride, changes_pitch = step * changes_stride, next_pitch = next_step * next_stride;
    float* sums = (float*)shared_memory;  // of either step, see `smooth`
    float* changes = sums + sums_size;
    float* middle = changes + changes_size;  // (kept, width): row y is in line (y - start) modulo `kept`
    const float offset = from_image ? (float)states[blockIdx.z].mean : 0.0f;
    const size_t plane = plane_of(rows, cols);
    const int first = blockIdx.y * span, last = min(first + span, rows), start = first - reach;
    const int left = blockIdx.x * PAIR_COLS - reach;
    const bool folds = middle_response && middle_response == response;
    const float least = folds ? 0.0f : nothing();
    source += plane;
    PER_THREAD(float, centre, SMOOTH_ROWS);
    PER_THREAD(float, change, SMOOTH_ROWS);
    for (int ahead = start; ahead - reach < last; ahead += PAIR_ROWS) {
        PHASE {
            columns_down<K>(source, sums + threadIdx.y * SMOOTH_ROWS * pitch, taps, left, width, PAIR_THREADS,
                            ahead + group_top(threadIdx.y, step), rows, cols, step, stride, circular, offset,
                            MINE(centre), MINE(change));
        }
        PHASE { change_along<K>(sums, changes, taps, PAIR_ROWS * step, stride, changes_stride, quads); }
        PHASE {
            const int x = threadIdx.x, from = x - reach, top = ahead + group_top(threadIdx.y, step);
            if (x >= width) continue;
            const float* along =
                changes + threadIdx.y * SMOOTH_ROWS * changes_pitch + x % step * changes_stride + x / step;
            const int line = (top - start) % kept;
            const bool wanted =
                middle_response && from >= 0 && from < PAIR_COLS && left + x < cols &&
                is_wanted(top, step, left + x, wanted_top, wanted_bottom, wanted_left, wanted_right);
#pragma unroll
            for (int j = 0; j < SMOOTH_ROWS; ++j) {
                const int y = top + j * step;
                const float sum = along[j * changes_pitch] + MINE(change)[j];
                const int beyond = line + j * step;
                middle[(beyond < kept ? beyond : beyond - kept) * width + x] = MINE(centre)[j] + sum;
                if (wanted && y >= first && y < last)
                    middle_response[plane + (size_t)y * cols + left + x] = fmaxf(t * sum, least);
            }
        }
        const int now = ahead - reach;  // first row of the second step
        if (now + PAIR_ROWS <= first) continue;
        PHASE {
            const int x = threadIdx.x;
            if (x >= width) continue;
            // Rows before `first` are made from what happens to be there, and dropped.
            const int line = (now + group_top(threadIdx.y, next_step) - reach - start + kept) % kept;
            float v[SMOOTH_ROWS + 2 * L];
#pragma unroll
            for (int j = 0; j < SMOOTH_ROWS + 2 * L; ++j) {
                const int beyond = line + j * next_step;
                v[j] = middle[(beyond < kept ? beyond : beyond - kept) * width + x];
            }
            change_window<L>(v, next_taps, MINE(centre), MINE(change));
            float* place = sums + threadIdx.y * SMOOTH_ROWS * next_pitch + x % next_step * next_stride + x / next_step;
#pragma unroll
            for (int j = 0; j < SMOOTH_ROWS; ++j) place[j * next_pitch] = MINE(centre)[j] + MINE(change)[j];
        }
        PHASE {
            change_along<L>(sums, changes, next_taps, PAIR_ROWS * next_step, next_stride, next_stride, next_quads);
        }
        PHASE {
            const int from = threadIdx.x - reach, x = left + (int)threadIdx.x;
            if (from < 0 || from >= PAIR_COLS || x >= cols) continue;
            const int top = now + group_top(threadIdx.y, next_step);
            const bool wanted =
                response && is_wanted(top, next_step, x, wanted_top, wanted_bottom, wanted_left, wanted_right);
            float* along = changes + threadIdx.y * SMOOTH_ROWS * next_pitch + from % next_step * next_stride +
                           from / next_step;
#pragma unroll
            for (int j = 0; j < SMOOTH_ROWS; ++j) {
                const int y = top + j * next_step;
                if (y < first || y >= last) continue;
                const float sum = along[j * next_pitch] + MINE(change)[j];
                const size_t there = plane + (size_t)y * cols + x;
                if (target) *(shift ? along + j * next_pitch : target + there) = MINE(centre)[j] + sum;
                if (!wanted) continue;
                const float here = next_t * sum;
                // The first step's, from some rows ago, is still in a cache.
                response[there] = !folds ? here : here > response[there] ? -here : response[there];
            }
            if (target && shift)
                keep_thinned(along, next_pitch, target, top, next_step, first, last, x, rows, cols, circular, shift,
                             kept_rows, kept_cols, top_row, left_col);
        }
    }
}

#define PAIR(K, L)                                                                                                     \
    KERNEL(PAIR_THREADS* PAIR_GROUPS, 3) pair_##K##_##L(                                                               \
        const float* source, float* middle_response, float* target, float* response, const float* taps,                \
        const float* next_taps, const State* states, int rows, int cols, int span, int step, int stride,               \
        int changes_stride, int quads, float t, int next_step, int next_stride, int next_quads, float next_t,          \
        int sums_size, int changes_size, int circular, int from_image, int wanted_top, int wanted_bottom,              \
        int wanted_left, int wanted_right, int shift, int kept_rows, int kept_cols, int top_row, int left_col) {       \
        pair<K, L>(source, middle_response, target, response, taps, next_taps, states, rows, cols, span, step, stride, \
                   changes_stride, quads, t, next_step, next_stride, next_quads, next_t, sums_size, changes_size,      \
                   circular, from_image, wanted_top, wanted_bottom, wanted_left, wanted_right, shift, kept_rows,       \
                   kept_cols, top_row, left_col);                                                                      \
    }
