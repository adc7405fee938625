// SPDX-License-Identifier: Apache-2.0
// Sparse convolution on the CPU, called by dropclip_ros/sparse/native.py; the same in plain torch is in dropclip_ros/sparse/cpu.py.
//
// Output-stationary: a tile of output rows stays in cache while all kernel offsets add to it, so that nothing is
// gathered to memory or scattered from it. The innermost product holds a few rows times 16 to 64 columns in registers.
// GCC's vector extension compiles to whatever the processor has; target_clones chooses when the library is loaded.
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__gnu_linux__)
#define EXPORT __attribute__((visibility("default"), target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#ifdef __x86_64__
#define WIDE __builtin_cpu_supports("avx512f")
#else
#define WIDE 0
#endif
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16, PANEL = 4 * LANES, TILE = 1024, ROWS = 8, CHUNK = 64 };
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));

// sums[r][v] += x[r][0..inputs] * w[0..inputs][v], r and v being constants where this is inlined.
INLINE void multiply(const int rows, const int vectors, const float *const *x, float *const *sums, const float *w,
                     int64_t inputs, int64_t stride) {
    lanes acc[ROWS][4];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) acc[r][v] = *(const lanes *)(sums[r] + v * LANES);
    for (int64_t i = 0; i < inputs; i++, w += stride)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const lanes weight = *(const lanes *)(w + v * LANES);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) acc[r][v] += x[r][i] * weight;
        }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) *(lanes *)(sums[r] + v * LANES) = acc[r][v];
}

// All pairs of one tile and one offset.
INLINE void multiply_pairs(const int rows, const int vectors, const float *x, const float *w, float *sums,
                           const int32_t *source, const int32_t *target, int64_t pairs, int64_t first, int64_t inputs,
                           int64_t stride) {
    const float *from[ROWS];
    float *to[ROWS], nowhere[PANEL];
    memset(nowhere, 0, sizeof nowhere);
    for (int64_t p = 0; p < pairs; p += rows) {
        for (int r = 0; r < rows; r++) {  // what the last group lacks is computed and thrown away
            const int there = p + r < pairs;
            from[r] = x + source[there ? p + r : p] * inputs;
            to[r] = there ? sums + (target[p + r] - first) * vectors * LANES : nowhere;
        }
        multiply(rows, vectors, from, to, w, inputs, stride);
    }
}

// out (rows, outputs) = sum over offsets k and pairs of x[source] w[k], plus bias and residual (rows, outputs) where
// given, then ReLU where asked. w (offsets, inputs, stride) has stride columns, a multiple of 16, the ones from `outputs` on being zero.
// The pairs of tile t and offset k are starts[t * offsets + k] up to the next; each target occurs there once at most.
EXPORT void convolve(const float *x, const float *w, const float *bias, const float *residual, int64_t relu, float *out,
                     const int32_t *source, const int32_t *target, const int64_t *starts, int64_t offsets, int64_t rows,
                     int64_t inputs, int64_t outputs, int64_t stride, int64_t threads) {
    static _Thread_local float sums[TILE * PANEL] __attribute__((aligned(64)));
    const int64_t panel = WIDE ? PANEL : LANES;  // 32 large registers hold 6 rows of 64 columns, others 6 of 16
    const int64_t panels = (stride + panel - 1) / panel, tiles = (rows + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (int64_t item = 0; item < tiles * panels; item++) {
        const int64_t tile = item / panels, column = item % panels * panel, first = tile * TILE;
        const int64_t count = rows - first < TILE ? rows - first : TILE;
        const int vectors = (int)((stride - column < panel ? stride - column : panel) / LANES);
        const int64_t width = vectors * LANES, kept = outputs - column < width ? outputs - column : width;
        memset(sums, 0, count * width * sizeof(float));
        for (int64_t k = 0; k < offsets; k++) {
            const int64_t a = starts[tile * offsets + k], pairs = starts[tile * offsets + k + 1] - a;
            const float *weight = w + k * inputs * stride + column;
#define WITH(R, V) multiply_pairs(R, V, x, weight, sums, source + a, target + a, pairs, first, inputs, stride)
            if (vectors == 4) WITH(6, 4);
            else if (vectors == 3) WITH(8, 3);
            else if (vectors == 2) WITH(8, 2);
            else WITH(6, 1);
#undef WITH
        }
        for (int64_t r = 0; r < count; r++) {
            const float *from = sums + r * width;
            const int64_t at = (first + r) * outputs + column;
            for (int64_t c = 0; c < kept; c++) {
                const float value = from[c] + (bias ? bias[column + c] : 0) + (residual ? residual[at + c] : 0);
                out[at + c] = relu && value < 0 ? 0 : value;
            }
        }
    }
}

// gradient[r][v] += sum over pairs p of x[p][i + r] * g[p][v].
INLINE void outer(const int rows, const int vectors, const float *const *x, int64_t i, const float *g, int64_t pairs,
                  float *gradient, int64_t stride) {
    lanes acc[6][4];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 6
        for (int v = 0; v < vectors; v++) acc[r][v] = *(const lanes *)(gradient + r * stride + v * LANES);
    for (int64_t p = 0; p < pairs; p++, g += vectors * LANES) {
        const float *from = x[p] + i;
#pragma GCC unroll 6
        for (int v = 0; v < vectors; v++) {
            const lanes slope = *(const lanes *)(g + v * LANES);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) acc[r][v] += from[r] * slope;
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 6
        for (int v = 0; v < vectors; v++) *(lanes *)(gradient + r * stride + v * LANES) = acc[r][v];
}

// All inputs of one chunk of pairs, whose columns (up to 64) fit the first cache.
INLINE void outer_chunk(const int vectors, const float *x, const float *g, float *gradient, const int32_t *source,
                        const int32_t *target, int64_t pairs, int64_t inputs, int64_t stride) {
    float packed[CHUNK * PANEL] __attribute__((aligned(64)));
    const float *from[CHUNK];
    for (int64_t p = 0; p < pairs; p++) {
        memcpy(packed + p * vectors * LANES, g + target[p] * stride, vectors * LANES * sizeof(float));
        from[p] = x + source[p] * inputs;
    }
    int64_t i = 0;
    for (; i + 6 <= inputs; i += 6) outer(6, vectors, from, i, packed, pairs, gradient + i * stride, stride);
    for (; i < inputs; i++) outer(1, vectors, from, i, packed, pairs, gradient + i * stride, stride);
}

// gradient (offsets, inputs, stride) of the kernel, zero before, from x and g (rows, stride), the gradient of `out`.
EXPORT void kernel_gradient(const float *x, const float *g, float *gradient, const int32_t *source,
                            const int32_t *target, const int64_t *starts, int64_t offsets, int64_t rows, int64_t inputs,
                            int64_t stride, int64_t threads) {
    const int64_t panel = WIDE ? PANEL : LANES, panels = (stride + panel - 1) / panel;
    const int64_t tiles = (rows + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (int64_t item = 0; item < offsets * panels; item++) {
        const int64_t k = item / panels, column = item % panels * panel;
        const int vectors = (int)((stride - column < panel ? stride - column : panel) / LANES);
        float *block = gradient + k * inputs * stride + column;
        for (int64_t tile = 0; tile < tiles; tile++) {
            const int64_t last = starts[tile * offsets + k + 1];
            for (int64_t a = starts[tile * offsets + k]; a < last; a += CHUNK) {
                const int64_t pairs = last - a < CHUNK ? last - a : CHUNK;
#define WITH(V) outer_chunk(V, x, g + column, block, source + a, target + a, pairs, inputs, stride)
                if (vectors == 4) WITH(4);
                else if (vectors == 3) WITH(3);
                else if (vectors == 2) WITH(2);
                else WITH(1);
#undef WITH
            }
        }
    }
}

// Output row j meets input row volume[cells[j] + offset[k]], or none where that is negative; cells NULL means j itself.
// count_pairs fills starts (tiles * offsets + 1) and returns how many pairs there are; find_pairs fills these.
EXPORT int64_t count_pairs(const int32_t *volume, const int64_t *cells, const int64_t *offset, int64_t offsets,
                           int64_t rows, int64_t *starts, int64_t threads) {
    const int64_t tiles = (rows + TILE - 1) / TILE;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (int64_t item = 0; item < tiles * offsets; item++) {
        const int64_t first = item / offsets * TILE, last = first + TILE < rows ? first + TILE : rows;
        const int32_t *at = volume + offset[item % offsets];
        int64_t count = 0;
        for (int64_t j = first; j < last; j++) count += at[cells ? cells[j] : j] >= 0;
        starts[item + 1] = count;
    }
    starts[0] = 0;
    for (int64_t item = 0; item < tiles * offsets; item++) starts[item + 1] += starts[item];
    return starts[tiles * offsets];
}

EXPORT void find_pairs(const int32_t *volume, const int64_t *cells, const int64_t *offset, int64_t offsets,
                       int64_t rows, const int64_t *starts, int32_t *source, int32_t *target, int64_t threads) {
    const int64_t tiles = (rows + TILE - 1) / TILE;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (int64_t item = 0; item < tiles * offsets; item++) {
        const int64_t first = item / offsets * TILE, last = first + TILE < rows ? first + TILE : rows;
        const int32_t *at = volume + offset[item % offsets];
        int32_t from[TILE + 1], to[TILE + 1];  // written without a branch, one beyond the end at most
        int64_t count = 0;
        for (int64_t j = first; j < last; j++) {
            from[count] = at[cells ? cells[j] : j];
            to[count] = (int32_t)j;
            count += from[count] >= 0;
        }
        memcpy(source + starts[item], from, count * sizeof *from);
        memcpy(target + starts[item], to, count * sizeof *to);
    }
}
