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
