// The measure on a GPU; work.py says which kernel runs when, docs/measure.md what they compute.
//
// Plain CUDA C++, also compiled by an ordinary C++ compiler: between two barriers all threads of a block do the same
// PHASE, which a host runs as a loop over the threads. Hence threadIdx is used only inside a PHASE, a `continue` there
// means "this thread has nothing more to do in this phase", and what a thread keeps from one phase to the next is
// PER_THREAD (registers on a GPU).
//
// Planes are float, row by row, of a batch of tiles one after the other; blockIdx.z is the tile. Sums are made in an
// order that depends neither on timing nor on how a tile is cut into strips. Sums of products are written with fmaf,
// so that every kernel that computes a number rounds it alike. source.py puts the definitions of the constants in
// capitals in front of this text.

#ifndef PHASE
#define PHASE for (bool once_ = true; once_; once_ = false, __syncthreads())
#define PER_THREAD(type, name, count) type name[count]
#define MINE(name) name
#define HELD(type, name, count) type (&name)[count]  // as a parameter of a function: the caller's PER_THREAD
#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)  // threads, and blocks to fit at a time
extern __shared__ double shared_memory[];
#endif

typedef unsigned char u1;
typedef signed char i1;
typedef unsigned short u2;
typedef short i2;
typedef float f4;
typedef double f8;
typedef unsigned long long Key;

// State of one tile. source.py mirrors it as a NumPy type: 8 bytes a value.
struct State {
    Key keys[4];          // leading digits found so far of the pixels of ranks 0, k, N-1-k and N-1
    long long ranks[4];   // rank of that pixel among those that share these digits
    long long counts[4];  // how many share them
    double low, high;     // grey levels that become 0 and 1; equal: the tile is constant
    double saturated;     // fraction of the pixels at the tile's own smallest or largest value
    double mean;          // of the normalised tile
    long long bins[5];    // coarse bin of each median of MEDIANS
    long long left[5];    // rank of the median in its bin
    double medians[5];
    double variance, slope, grey;  // NoiseModel
    double covariances[LAGS];
};

// Index of sample i of a line of n by the boundary rule: half-sample symmetric, or circular.
__device__ inline int fold(int i, int n, int circular) {
    if ((unsigned)i < (unsigned)n) return i;
    const int period = circular ? n : 2 * n;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - 1 - i;
}

// Beyond its ends, a line of n is continued by lines like it, `circular` or else every other one mirrored: the one that
// index i lies in, 0 for the line itself; and where sample i is in that one.
__device__ inline int turn_of(int i, int n) { return i < 0 ? -((n - 1 - i) / n) : i / n; }
__device__ inline int place_in_turn(int i, int turn, int n, int circular) {
    return turn * n + (circular || turn % 2 == 0 ? i : n - 1 - i);
}

__device__ inline float nothing() { return __uint_as_float(0xff800000u); }  // minus infinity

__device__ inline size_t plane_of(int rows, int cols) { return (size_t)blockIdx.z * rows * cols; }

// --- Histograms and what is read off them ----------------------------------------------------------------------------

// The bin of the element of a rank, and how many elements lie below that bin and in it.
struct Place {
    long long bin, below, count;
};

// In `sums`, of n <= blockDim.x counts in shared memory: the one that holds a rank, the last if none does. All threads
// of a block call it; the sums become running ones.
__device__ inline void find_place(unsigned* sums, int n, long long rank, Place* place) {
    PER_THREAD(unsigned, before, 1);
    for (int distance = 1; distance < n; distance *= 2) {
        PHASE { MINE(before)[0] = threadIdx.x < n && (int)threadIdx.x >= distance ? sums[threadIdx.x - distance] : 0; }
        PHASE {
            if (threadIdx.x < n) sums[threadIdx.x] += MINE(before)[0];
        }
    }
    PHASE {
        const int i = threadIdx.x;
        if (i >= n) continue;
        const long long below = i ? sums[i - 1] : 0;
        if (below <= rank && (rank < sums[i] || i == n - 1)) *place = Place{i, below, sums[i] - below};
    }
}

// Finds a rank in a histogram of a multiple of 256 bins, or the sum of two; `groups`: the sums over 256 bins, unless
// null. All threads of a block, no fewer than 256 or bins / 256, call it. Shared memory: two Places, then bins / 256
// sums, at least 256. The result is the first Place.
__device__ inline void find_rank(const unsigned* first, const unsigned* second, const unsigned* groups, int bins,
                                 long long rank) {
    Place* place = (Place*)shared_memory;  // of the bin, then of the group
    unsigned* sums = (unsigned*)(place + 2);
    PHASE {
        for (int group = threadIdx.x; group < bins / 256; group += blockDim.x) sums[group] = groups ? groups[group] : 0;
    }
    if (!groups) {
        PHASE {
            for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) {
                const unsigned count = first[bin] + (second ? second[bin] : 0);
                if (count) atomicAdd(&sums[bin / 256], count);
            }
        }
    }
    find_place(sums, bins / 256, rank, place + 1);
    PHASE {
        const long long bin = 256 * place[1].bin + threadIdx.x;
        if (threadIdx.x < 256) sums[threadIdx.x] = first[bin] + (second ? second[bin] : 0);
    }
    find_place(sums, 256, rank - place[1].below, place);
    PHASE {
        if (threadIdx.x) continue;
        place->bin += 256 * place[1].bin;
        place->below += place[1].below;
    }
}
