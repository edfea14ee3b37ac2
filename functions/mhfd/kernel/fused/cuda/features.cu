// --- Features --------------------------------------------------------------------------------------------------------

struct Feature {
    int row, col, scale;
    float strength;
};

// A pixel of M and its neighbours in its row; nothing beyond the borders.
__device__ inline void three(const float* strength, int y, int origin, int end, int x, int cols, float* values) {
    const bool inside = y >= origin && y < end;
    const float* row = strength + (long long)(y - origin) * cols;
    values[0] = inside && x > 0 ? row[x - 1] : nothing();
    values[1] = inside ? row[x] : nothing();
    values[2] = inside && x + 1 < cols ? row[x + 1] : nothing();
}

// No two maxima over 3 x 3 pixels touch.
constexpr int PEAK_MAXIMA = 128 * ((PEAK_ROWS + 1) / 2);

// Counts, by scale, the local maxima of M over 3 x 3 pixels above `thresholds` (by scale, for noise of unit deviation;
// null: none) times the noise at the local grey level; unless `features` is null, lists them, in any order.
// M: rows of the tile from `origin` to `end` (rows beyond are not looked at, even where the tile goes on);
// image: image_rows from image_origin on; rows first .. last of the tile are searched.
KERNEL(256) peaks(const float* strength, const u2* scale, const float* image, const State* states,
                  const double* thresholds, unsigned* counts, Feature* features, unsigned* found, int origin, int end,
                  int image_origin, int image_rows, int first, int last, int rows, int cols, int n_scales) {
    unsigned* shared = (unsigned*)shared_memory;  // n_scales
    unsigned* found_here = shared + n_scales;     // 1
    u2* maxima = (u2*)(found_here + 1);           // PEAK_MAXIMA: places in the block
    const State& state = states[blockIdx.z];
    const int left = blockIdx.x * 256, top = first + blockIdx.y * PEAK_ROWS;
    strength += plane_of(end - origin, cols);
    scale += plane_of(end - origin, cols);
    image += plane_of(image_rows, cols);
    PHASE {
        for (int i = threadIdx.x; i <= n_scales; i += 256) shared[i] = 0;
    }
    PHASE {
        const int x = left + threadIdx.x;
        if (x >= cols) continue;
        float above[3], level[3], below[3];
        three(strength, top - 1, origin, end, x, cols, above);
        three(strength, top, origin, end, x, cols, level);
#pragma unroll
        for (int j = 0; j < PEAK_ROWS; ++j) {
            three(strength, top + j + 1, origin, end, x, cols, below);
            const float here = level[1];
            const float earlier = fmaxf(fmaxf(above[0], above[1]), fmaxf(above[2], level[0]));
            const float later = fmaxf(fmaxf(below[0], below[1]), fmaxf(below[2], level[2]));
            if (top + j < last && here > MIN_RESPONSE && here > earlier && here >= later)
                maxima[atomicAdd(found_here, 1u)] = (u2)(256 * j + threadIdx.x);
#pragma unroll
            for (int i = 0; i < 3; ++i) above[i] = level[i], level[i] = below[i];
        }
    }
    // Few pixels are maxima: here all threads share them.
    PHASE {
        const double least = fmax(state.variance / 4, MIN_NOISE * MIN_NOISE);  // of the noise at any grey level
        for (int i = threadIdx.x; i < *found_here; i += 256) {
            const int y = top + maxima[i] / 256, x = left + maxima[i] % 256;
            const size_t at = (size_t)(y - origin) * cols + x;
            const float here = strength[at];
            const int which = scale[at];
            if (thresholds) {
                if (!(here > thresholds[which] * sqrt(least))) continue;  // the local grey is dear
                float grey = 0;
                for (int dy = -2; dy <= 2; ++dy) {
                    const float* row = image + (size_t)(fold(y + dy, rows, 0) - image_origin) * cols;
                    for (int dx = -2; dx <= 2; ++dx) grey += row[fold(x + dx, cols, 0)];
                }
                const double model = state.variance + state.slope * (grey / 25.0 - state.grey);
                if (!(here > thresholds[which] * sqrt(fmax(model, least)))) continue;
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
