// --- Features --------------------------------------------------------------------------------------------------------

struct Feature {
    int row, col, scale;
    float strength;
};

// What decides whether a local maximum of M is a feature, and where features are counted.
// Image: image_rows rows of the tile from image_origin on. thresholds: by scale, for noise of unit deviation; null:
// none. counts: by scale. features: a list, in any order, of `found` features; null: none is wanted.
struct Search {
    const float* image;
    const State* state;
    const double* thresholds;
    unsigned* counts;
    Feature* features;
    unsigned* found;
    int image_origin, rows, cols, n_scales;
};

__device__ inline Search search_of(const float* image, const State* states, const double* thresholds, unsigned* counts,
                                   Feature* features, unsigned* found, int image_origin, int image_rows, int rows,
                                   int cols, int n_scales) {
    return Search{image + plane_of(image_rows, cols), states + blockIdx.z,
                  thresholds, counts + (size_t)blockIdx.z * n_scales,
                  features, found,
                  image_origin, rows, cols, n_scales};
}

// A local maximum that a block has found, so far from the block's first pixel.
struct Maximum {
    float strength;
    u2 scale;
    u1 row, col;
};

// What a block has found, in shared memory.
struct Found {
    unsigned* counts;  // n_scales: features
    unsigned* count;   // of the maxima
    Maximum* maxima;
};

__device__ inline Found found_at(void* shared, int n_scales) {
    unsigned* counts = (unsigned*)shared;
    return Found{counts, counts + n_scales, (Maximum*)(counts + n_scales + 1)};
}

__device__ inline int thread_of_block() { return threadIdx.y * blockDim.x + threadIdx.x; }

// All threads of a block call these two: before maxima are listed, and once they are.
__device__ inline void clear(const Found& here, int n_scales) {
    PHASE {
        for (int i = thread_of_block(); i <= n_scales; i += blockDim.x * blockDim.y) here.counts[i] = 0;
    }
}

__device__ inline void list(const Found& here, float strength, int scale, int row, int col) {
    here.maxima[atomicAdd(here.count, 1u)] = Maximum{strength, (u2)scale, (u1)row, (u1)col};
}

// Counts the features among the maxima of the block whose first pixel is (top, left): those above the threshold times
// the noise at the local grey level.
__device__ inline void count_features(const Found& here, const Search& search, int top, int left) {
    PHASE {  // few pixels are maxima: here all threads share them
        const State& state = *search.state;
        const double least = fmax(state.variance / 4, MIN_NOISE * MIN_NOISE);  // of the noise at any grey level
        for (int i = thread_of_block(); i < *here.count; i += blockDim.x * blockDim.y) {
            const Maximum one = here.maxima[i];
            const int y = top + one.row, x = left + one.col;
            if (search.thresholds) {
                const double threshold = search.thresholds[one.scale];
                if (!(one.strength > threshold * sqrt(least))) continue;  // the local grey is dear
                float grey = 0;
                for (int dy = -2; dy <= 2; ++dy) {
                    const float* row =
                        search.image + (size_t)(fold(y + dy, search.rows, 0) - search.image_origin) * search.cols;
                    for (int dx = -2; dx <= 2; ++dx) grey += row[fold(x + dx, search.cols, 0)];
                }
                const double model = state.variance + state.slope * (grey / 25.0 - state.grey);
                if (!(one.strength > threshold * sqrt(fmax(model, least)))) continue;
            }
            atomicAdd(&here.counts[one.scale], 1u);
            if (search.features)
                search.features[atomicAdd(search.found, 1u)] = Feature{y, x, one.scale, one.strength};
        }
    }
    PHASE {
        for (int i = thread_of_block(); i < search.n_scales; i += blockDim.x * blockDim.y)
            if (here.counts[i]) atomicAdd(&search.counts[i], here.counts[i]);
    }
}

// Whether a pixel of M is a local maximum over 3 x 3 pixels: of equal ones the first in raster order is. `earlier`,
// `later`: the largest of its neighbours before and after it in that order.
__device__ inline bool is_maximum(float here, float earlier, float later) {
    return here > MIN_RESPONSE && here > earlier && here >= later;
}

// The pixel in the middle of `level`, a row of three, with the rows above and below.
__device__ inline bool is_maximum(const float* above, const float* level, const float* below) {
    return is_maximum(level[1], fmaxf(fmaxf(above[0], above[1]), fmaxf(above[2], level[0])),
                      fmaxf(fmaxf(below[0], below[1]), fmaxf(below[2], level[2])));
}

// A pixel of M and its neighbours in its row; nothing beyond the borders.
__device__ inline void three(const float* strength, int y, int origin, int end, int x, int cols, float* values) {
    const bool inside = y >= origin && y < end;
    const float* row = strength + (long long)(y - origin) * cols;
    values[0] = inside && x > 0 ? row[x - 1] : nothing();
    values[1] = inside ? row[x] : nothing();
    values[2] = inside && x + 1 < cols ? row[x + 1] : nothing();
}

// Counts, by scale, the features in rows first .. last of the tile.
// M: rows of the tile from `origin` to `end` (rows beyond are not looked at, even where the tile goes on).
KERNEL(256) peaks(const float* strength, const u2* scale, const float* image, const State* states,
                  const double* thresholds, unsigned* counts, Feature* features, unsigned* found, int origin, int end,
                  int image_origin, int image_rows, int first, int last, int rows, int cols, int n_scales) {
    const Found here = found_at(shared_memory, n_scales);
    const Search search = search_of(image, states, thresholds, counts, features, found, image_origin, image_rows, rows,
                                    cols, n_scales);
    const int left = blockIdx.x * 256, top = first + blockIdx.y * PEAK_ROWS;
    strength += plane_of(end - origin, cols);
    scale += plane_of(end - origin, cols);
    clear(here, n_scales);
    PHASE {
        const int x = left + threadIdx.x;
        if (x >= cols) continue;
        float above[3], level[3], below[3];
        three(strength, top - 1, origin, end, x, cols, above);
        three(strength, top, origin, end, x, cols, level);
#pragma unroll
        for (int j = 0; j < PEAK_ROWS; ++j) {
            three(strength, top + j + 1, origin, end, x, cols, below);
            if (top + j < last && is_maximum(above, level, below))
                list(here, level[1], scale[(size_t)(top + j - origin) * cols + x], j, threadIdx.x);
#pragma unroll
            for (int i = 0; i < 3; ++i) above[i] = level[i], level[i] = below[i];
        }
    }
    count_features(here, search, top, left);
}

// --- Features at once with the maximum over scale --------------------------------------------------------------------

// Where M is made as a whole, each block of it, of SIDE squared pixels, searches its own pixels and keeps M to itself.
// But for the pixels at the seams between blocks: for these, each block leaves its two outermost rows and columns.

// Lines of M, rows or columns of the tile, four from each block along the other axis: the two first ones and the two
// last. Of the scale, the first and the last.
struct Lines {
    float* strength;  // (4 blocks, length)
    u2* scale;        // (2 blocks, length)
};

constexpr int SEAM_SIDE = MERGE_SIDE;

__device__ inline int blocks_of(int size) { return (size + SEAM_SIDE - 1) / SEAM_SIDE; }

// Rows of the tile, and columns of it, in the memory for the seams: 20 bytes a sample of a line.
__device__ inline void lines_of(float* seams, int rows, int cols, Lines* down, Lines* along) {
    const size_t of_rows = (size_t)blocks_of(rows) * cols, of_cols = (size_t)blocks_of(cols) * rows;
    seams += 5 * (of_rows + of_cols) * blockIdx.z;
    u2* scales = (u2*)(seams + 4 * (of_rows + of_cols));
    *down = Lines{seams, scales};
    *along = Lines{seams + 4 * of_rows, scales + 2 * of_rows};
}

// Leaves sample `at` of line number `line` of a block if it is one of the outermost.
__device__ inline void leave(const Lines& lines, int block, int line, int length, int at, float strength, int scale) {
    const int last = SEAM_SIDE - 1, slot = line < 2 ? line : line - (last - 3);
    if (line > 1 && line < last - 1) return;
    lines.strength[(size_t)(4 * block + slot) * length + at] = strength;
    if (line == 0 || line == last) lines.scale[(size_t)(2 * block + (line == last)) * length + at] = (u2)scale;
}

// Whether line number i of n lies at a seam.
__device__ inline bool at_seam(int i, int n) {
    return (i % SEAM_SIDE == 0 && i > 0) || (i % SEAM_SIDE == SEAM_SIDE - 1 && i + 1 < n);
}

// Counts the features of the pixels at the seams: blockIdx.y numbers the seams between blocks one below the other, then
// those between blocks side by side.
KERNEL(256) seams(float* lines, const float* image, const State* states, const double* thresholds, unsigned* counts,
                  Feature* features, unsigned* found, int n_scales, int rows, int cols) {
    const Found here = found_at(shared_memory, n_scales);
    const Search search = search_of(image, states, thresholds, counts, features, found, 0, rows, rows, cols, n_scales);
    const bool level = blockIdx.y < blocks_of(rows) - 1;  // else upright
    const int block = level ? blockIdx.y + 1 : blockIdx.y - blocks_of(rows) + 2;  // after the seam
    const int length = level ? cols : rows, before = SEAM_SIDE * block - 1, start = blockIdx.x * 256;
    clear(here, n_scales);
    PHASE {
        const int at = start + threadIdx.x;
        if (at >= length || (level && at_seam(at, cols))) continue;  // where seams cross, the upright one does it
        Lines down, along;
        lines_of(lines, rows, cols, &down, &along);
        const Lines mine = level ? down : along;
        const int end = 4 * block + min(2, (level ? rows : cols) - SEAM_SIDE * block);
        float v[4][3];  // the two lines before the seam, and the two after it, or one
#pragma unroll
        for (int line = 0; line < 4; ++line) three(mine.strength, 4 * block - 2 + line, 0, end, at, length, v[line]);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            // Of the corners, these two come in the other order if a line is a column.
            const float after = v[i][2], ahead = v[i + 2][0];
            const float earlier = fmaxf(fmaxf(v[i][0], v[i][1]), fmaxf(v[i + 1][0], level ? after : ahead));
            const float later = fmaxf(fmaxf(v[i + 2][2], v[i + 2][1]), fmaxf(v[i + 1][2], level ? ahead : after));
            if (is_maximum(v[i + 1][1], earlier, later))
                list(here, v[i + 1][1], mine.scale[(size_t)(2 * block - 1 + i) * length + at], level ? i : threadIdx.x,
                     level ? threadIdx.x : i);
        }
    }
    count_features(here, search, level ? before : start, level ? start : before);
}
