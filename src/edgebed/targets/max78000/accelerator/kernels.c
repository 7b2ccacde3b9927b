/* Inner loops of the accelerator model: gather from data memory, pool and combine, convolve,
 * scatter to data memory. Every function has a plain twin in arithmetic.py with the same meaning.
 * C99, no allocation. Activations in the convolution are stored with 128 added, so that the
 * unsigned-times-signed dot product of x86 can be used; `start` already holds the correction. */
#include <stdint.h>
#include <string.h>

#if defined(__AVX512VNNI__) && defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#define PIXELS 6
typedef __m512i vector;
#elif defined(__AVX2__)
#include <immintrin.h>
#define LANES 8
#define PIXELS 2
typedef __m256i vector;
#else
#define LANES 16
#define PIXELS 2
typedef struct { int32_t lane[16]; } vector;
#endif

enum { BLOCK = 16, CHUNK = 64 };
enum { ADD = 1, SUB = 0, OR = 2, XOR = 3 };

struct memory { int32_t instance_step, word_step, wrap; };

struct source {
    struct memory memory;
    int32_t base, pixels, passes, operands, slots;
};

/* Between streaming layers, neighbouring instances lie side by side: one copy a position. */
static int side_by_side(const struct memory *m, const int32_t *instances, int32_t n, int32_t step)
{
    for (int32_t i = 1; i < n; i++)
        if (instances[i * step] != instances[0] + i)
            return 0;
    return m->instance_step == 1;
}

/* out[operand][pixel][pass][slot] = word of data memory instance instances[slot]. Sixteen
 * positions at a time: instances lie 32 KB apart and would evict each other from the cache. */
void gather_words(const struct source *s, const uint32_t *data, const int32_t *instances,
                  uint32_t *out)
{
    const int64_t count = (int64_t)s->pixels * s->passes;
    if (s->operands == 1 && side_by_side(&s->memory, instances, s->slots, 1)) {
        for (int64_t i = 0; i < count; i++)
            memcpy(out + i * s->slots,
                   data + instances[0] + ((s->base + i) & s->memory.wrap) * s->memory.word_step,
                   (size_t)s->slots * 4);
        return;
    }
    for (int32_t operand = 0; operand < s->operands; operand++)
        for (int64_t first = 0; first < count; first += 16) {
            const int64_t last = first + 16 < count ? first + 16 : count;
            for (int32_t slot = 0; slot < s->slots; slot++) {
                const uint32_t *from = data + (int64_t)instances[slot] * s->memory.instance_step;
                uint32_t *to = out + operand * count * s->slots + slot;
                for (int64_t i = first; i < last; i++) {
                    const int64_t word = (s->base + i * s->operands + operand) & s->memory.wrap;
                    to[i * s->slots] = from[word * s->memory.word_step];
                }
            }
        }
}

struct window {
    int32_t rows, columns, channels, operands;
    int32_t window_rows, window_columns, stride, out_rows, out_columns;
    int32_t maximum, rounding, pool_last, function;
};

static int32_t average(int32_t sum, int32_t n, int32_t rounding)
{
    if (!rounding)
        return sum / n;
    return sum >= 0 ? (2 * sum + n) / (2 * n) : -((-2 * sum + n) / (2 * n));
}

static void apply(int32_t function, int32_t *left, const int32_t *right, int32_t n)
{
    int32_t i;
    if (function == ADD)
        for (i = 0; i < n; i++) left[i] += right[i];
    else if (function == SUB)
        for (i = 0; i < n; i++) left[i] -= right[i];
    else if (function == OR)
        for (i = 0; i < n; i++) left[i] |= right[i];
    else
        for (i = 0; i < n; i++) left[i] ^= right[i];
}

static void clip(int32_t *value, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        value[i] = value[i] < -128 ? -128 : value[i] > 127 ? 127 : value[i];
}

/* One position of all operands, combined and clipped. */
static void combine_at(const struct window *w, const int8_t *in, int32_t n, int32_t *value)
{
    const int64_t map = (int64_t)w->rows * w->columns * w->channels;
    int32_t right[CHUNK];
    for (int32_t i = 0; i < n; i++) value[i] = in[i];
    for (int32_t operand = 1; operand < w->operands; operand++) {
        for (int32_t i = 0; i < n; i++) right[i] = in[operand * map + i];
        apply(w->function, value, right, n);
    }
    clip(value, n);
}

static void pool_one(const struct window *w, const int8_t *in, int32_t n, int32_t *value)
{
    const int64_t row = (int64_t)w->columns * w->channels;
    int32_t here[CHUNK];
    for (int32_t i = 0; i < n; i++) value[i] = w->maximum ? -128 : 0;
    for (int32_t r = 0; r < w->window_rows; r++)
        for (int32_t c = 0; c < w->window_columns; c++) {
            const int8_t *at = in + r * row + (int64_t)c * w->channels;
            if (w->pool_last)
                combine_at(w, at, n, here);
            else
                for (int32_t i = 0; i < n; i++) here[i] = at[i];
            if (w->maximum)
                for (int32_t i = 0; i < n; i++) value[i] = value[i] > here[i] ? value[i] : here[i];
            else
                for (int32_t i = 0; i < n; i++) value[i] += here[i];
        }
    if (!w->maximum)
        for (int32_t i = 0; i < n; i++)
            value[i] = average(value[i], w->window_rows * w->window_columns, w->rounding);
}

/* The common case, one operand and maximum, in bytes: 64 channels are one vector register. */
static void pool_maximum(const struct window *w, const int8_t *in, int32_t n, int8_t *out)
{
    const int64_t row = (int64_t)w->columns * w->channels;
    int8_t value[CHUNK];
    memcpy(value, in, (size_t)n);
    for (int32_t r = 0; r < w->window_rows; r++)
        for (int32_t c = 0; c < w->window_columns; c++) {
            const int8_t *at = in + r * row + (int64_t)c * w->channels;
            for (int32_t i = 0; i < n; i++) value[i] = value[i] > at[i] ? value[i] : at[i];
        }
    memcpy(out, value, (size_t)n);
}

static void pool_chunk(const struct window *w, const int8_t *in, int32_t n, int8_t *out)
{
    const int64_t map = (int64_t)w->rows * w->columns * w->channels;
    int32_t value[CHUNK], right[CHUNK];
    if (w->operands == 1 && w->maximum) {
        pool_maximum(w, in, n, out);
        return;
    }
    pool_one(w, in, n, value);
    if (!w->pool_last) {
        for (int32_t operand = 1; operand < w->operands; operand++) {
            pool_one(w, in + operand * map, n, right);
            apply(w->function, value, right, n);
        }
        clip(value, n);
    }
    for (int32_t i = 0; i < n; i++) out[i] = (int8_t)value[i];
}

/* in[operand][row][column][channel] -> out[row][column][channel], pooled and combined. */
void pool_and_combine(const struct window *w, const int8_t *in, int8_t *out)
{
    for (int32_t row = 0; row < w->out_rows; row++)
        for (int32_t column = 0; column < w->out_columns; column++) {
            const int64_t pixel = ((int64_t)row * w->columns + column) * w->stride;
            int8_t *to = out + ((int64_t)row * w->out_columns + column) * w->channels;
            for (int32_t c = 0; c < w->channels; c += CHUNK) {
                const int32_t n = w->channels - c < CHUNK ? w->channels - c : CHUNK;
                pool_chunk(w, in + pixel * w->channels + c, n, to + c);
            }
        }
}

struct frame { int32_t rows, columns, channels, pad_rows, pad_columns, spread; };

/* Add 128, surround with zeros (128), and for transposed convolution put zeros between pixels. */
void pad(const struct frame *f, const int8_t *in, uint8_t *out)
{
    const int64_t width = (int64_t)f->columns * f->spread + 2 * f->pad_columns;
    const int64_t height = (int64_t)f->rows * f->spread + 2 * f->pad_rows;
    memset(out, 128, (size_t)(width * height * f->channels));
    for (int32_t row = 0; row < f->rows; row++) {
        const int64_t line = (int64_t)row * f->spread + f->pad_rows;
        uint8_t *to = out + (line * width + f->pad_columns) * f->channels;
        const int8_t *from = in + (int64_t)row * f->columns * f->channels;
        if (f->spread == 1)
            for (int64_t i = 0; i < (int64_t)f->columns * f->channels; i++)
                to[i] = (uint8_t)(from[i] ^ 0x80);
        else
            for (int32_t column = 0; column < f->columns; column++)
                for (int32_t c = 0; c < f->channels; c++)
                    to[(int64_t)column * f->spread * f->channels + c] =
                        (uint8_t)(from[(int64_t)column * f->channels + c] ^ 0x80);
    }
}

struct convolution {
    int32_t out_rows, out_columns, row_bytes, pixel_bytes, kernel_rows, kernel_words;
    int32_t blocks, shift, activation, wide;
};

#if defined(__AVX512VNNI__) && defined(__AVX512F__)
static inline vector load(const int32_t *p) { return _mm512_loadu_si512(p); }
static inline void store(int32_t *p, vector v) { _mm512_storeu_si512(p, v); }
static inline vector dot(vector sum, const uint8_t *x, const int8_t *w)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(four), _mm512_loadu_si512(w));
}
#elif defined(__AVX2__)
static inline vector load(const int32_t *p) { return _mm256_loadu_si256((const vector *)p); }
static inline void store(int32_t *p, vector v) { _mm256_storeu_si256((vector *)p, v); }
/* Even and odd bytes as 16-bit numbers: unlike vpmaddubsw this cannot saturate. */
static inline vector dot(vector sum, const uint8_t *x, const int8_t *w)
{
    int32_t four;
    memcpy(&four, x, 4);
    const vector a = _mm256_set1_epi32(four), b = _mm256_loadu_si256((const vector *)w);
    const vector even = _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi16(255)),
                                          _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    const vector odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
#else
static inline vector load(const int32_t *p) { vector v; memcpy(&v, p, sizeof v); return v; }
static inline void store(int32_t *p, vector v) { memcpy(p, &v, sizeof v); }
static inline vector dot(vector sum, const uint8_t *x, const int8_t *w)
{
    for (int j = 0; j < LANES; j++)
        sum.lane[j] += x[0] * w[4 * j] + x[1] * w[4 * j + 1] + x[2] * w[4 * j + 2]
                       + x[3] * w[4 * j + 3];
    return sum;
}
#endif

/* `np` pixels times `nv` vectors of output columns; both are constants after inlining. */
static inline __attribute__((always_inline)) void
tile(const struct convolution *c, const uint8_t *const *x, const int8_t *w, const int32_t *start,
     int32_t (*sums)[4 * LANES], int np, int nv)
{
    const int64_t block = (int64_t)c->kernel_rows * c->kernel_words * BLOCK * 4;
    vector sum[PIXELS][4];
    for (int p = 0; p < np; p++)
        for (int v = 0; v < nv; v++) sum[p][v] = load(start + v * LANES);
    for (int32_t row = 0; row < c->kernel_rows; row++)
        for (int32_t k = 0; k < c->kernel_words; k++) {
            const int64_t at = (int64_t)row * c->row_bytes + 4 * (int64_t)k;
            const int8_t *wk = w + ((int64_t)row * c->kernel_words + k) * BLOCK * 4;
            for (int v = 0; v < nv; v++) {
                const int8_t *wv = wk + v * LANES / BLOCK * block + v * LANES % BLOCK * 4;
                for (int p = 0; p < np; p++) sum[p][v] = dot(sum[p][v], x[p] + at, wv);
            }
        }
    for (int p = 0; p < np; p++)
        for (int v = 0; v < nv; v++) store(sums[p] + v * LANES, sum[p][v]);
}

static void tile_of(const struct convolution *c, const uint8_t *const *x, const int8_t *w,
                    const int32_t *start, int32_t (*sums)[4 * LANES], int np, int nv)
{
    if (np == 1) {
        if (nv == 1) tile(c, x, w, start, sums, 1, 1);
        else if (nv == 2) tile(c, x, w, start, sums, 1, 2);
        else if (nv == 3) tile(c, x, w, start, sums, 1, 3);
        else tile(c, x, w, start, sums, 1, 4);
    } else {
        if (nv == 1) tile(c, x, w, start, sums, PIXELS, 1);
        else if (nv == 2) tile(c, x, w, start, sums, PIXELS, 2);
        else if (nv == 3) tile(c, x, w, start, sums, PIXELS, 3);
        else tile(c, x, w, start, sums, PIXELS, 4);
    }
}

/* floor(sum * 2^shift / 128 + 1/2), clipped, then ReLU (1) or Abs (2). */
static void requantise(const struct convolution *c, const int32_t *sum, int8_t *out, int n)
{
    const int right = 7 - c->shift;
    const int low = c->activation == 1 ? 0 : -128;
    for (int i = 0; i < n; i++) {
        int32_t y = sum[i];
        if (right > 0)
            y = (y + (1 << (right - 1))) >> right;
        y = y < -128 ? -128 : y > 127 ? 127 : y;
        if (right < 0) {
            y *= 1 << -right;
            y = y < -128 ? -128 : y > 127 ? 127 : y;
        }
        y = y < low ? low : y;
        if (c->activation == 2)
            y = y < -127 ? 127 : y < 0 ? -y : y;
        out[i] = (int8_t)y;
    }
}

/* out[pixel][blocks * 16]: int8, or int32 when wide. weights[block][kernel byte / 4][16][4]. */
void convolve(const struct convolution *c, const uint8_t *in, const int8_t *weights,
              const int32_t *start, void *out)
{
    const int64_t pixels = (int64_t)c->out_rows * c->out_columns;
    const int64_t block = (int64_t)c->kernel_rows * c->kernel_words * BLOCK * 4;
    const int columns = c->blocks * BLOCK;
    for (int64_t first = 0; first < pixels; first += PIXELS) {
        const int here = pixels - first < PIXELS ? (int)(pixels - first) : PIXELS;
        const uint8_t *x[PIXELS];
        int32_t sums[PIXELS][4 * LANES];
        for (int p = 0; p < PIXELS; p++) {
            const int64_t pixel = first + (p < here ? p : here - 1);
            x[p] = in + pixel / c->out_columns * c->row_bytes
                   + pixel % c->out_columns * c->pixel_bytes;
        }
        for (int column = 0; column < columns; column += 4 * LANES) {
            const int left = (columns - column) / LANES, nv = left < 4 ? left : 4;
            tile_of(c, x, weights + column / BLOCK * block, start + column, sums,
                    here == 1 ? 1 : PIXELS, nv);
            for (int p = 0; p < here; p++) {
                const int64_t at = (first + p) * columns + column;
                if (c->wide)
                    memcpy((int32_t *)out + at, sums[p], (size_t)nv * LANES * 4);
                else
                    requantise(c, sums[p], (int8_t *)out + at, nv * LANES);
            }
        }
    }
}

struct destination { struct memory memory; int32_t pixels, pixel_bytes, pixel_words; };

/* All words of a pixel follow each other, here and there. */
static int in_one_piece(const struct destination *d, int32_t count, const int32_t *moves)
{
    for (int32_t i = 1; i < count; i++)
        if (moves[4 * i] != moves[0] + 4 * i || moves[4 * i + 2] != moves[2])
            return 0;
    return side_by_side(&d->memory, moves + 1, count, 4);
}

/* Copy whole words: word pixel * pixel_words + offset[i] of instance[i], for every pixel. */
void scatter_words(const struct destination *d, const uint8_t *in, int32_t count,
                   const int32_t *moves, uint32_t *data)
{
    if (in_one_piece(d, count, moves)) {
        for (int64_t pixel = 0; pixel < d->pixels; pixel++) {
            const int64_t word = (pixel * d->pixel_words + moves[2]) & d->memory.wrap;
            memcpy(data + moves[1] + word * d->memory.word_step,
                   in + pixel * d->pixel_bytes + moves[0], (size_t)count * 4);
        }
        return;
    }
    for (int64_t first = 0; first < d->pixels; first += 16) {
        const int64_t last = first + 16 < d->pixels ? first + 16 : d->pixels;
        for (int32_t i = 0; i < count; i++) {
            const int32_t *move = moves + 4 * i;
            uint32_t *to = data + (int64_t)move[1] * d->memory.instance_step;
            for (int64_t pixel = first; pixel < last; pixel++) {
                const int64_t word = (pixel * d->pixel_words + move[2]) & d->memory.wrap;
                memcpy(to + word * d->memory.word_step, in + pixel * d->pixel_bytes + move[0], 4);
            }
        }
    }
}

/* Copy single bytes to byte lane move[3]; the other lanes of the word keep their contents. */
void scatter_bytes(const struct destination *d, const uint8_t *in, int32_t count,
                   const int32_t *moves, uint8_t *data)
{
    for (int64_t pixel = 0; pixel < d->pixels; pixel++)
        for (int32_t i = 0; i < count; i++) {
            const int32_t *move = moves + 4 * i;
            const int64_t word = (pixel * d->pixel_words + move[2]) & d->memory.wrap;
            const int64_t at = (int64_t)move[1] * d->memory.instance_step
                               + word * d->memory.word_step;
            data[4 * at + move[3]] = in[pixel * d->pixel_bytes + move[0]];
        }
}
