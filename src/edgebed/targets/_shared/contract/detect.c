/* From the output map to boxes, in integers. Equal to the reference decoder in every bit: the same
 * tables, the same roundings, the same order of equal scores. Formats: logits Q16, probabilities
 * and scores Q15, coordinates Q16 of the network input. */
#include "detect.h"

#include "network.h"

#define ONE_Q15 32768
#define ONE_Q16 65536
#define LOGIT_LIMIT ((1L << 30) - 1)
#define TABLE_END (16L << 16)
#define BOX_CHANNELS 5 /* the boxes of a cell come first, then the class scores that they share */

#ifdef EB_DEFECT_THRESHOLD
/* The defect: a threshold that is a raw integer, of the confidence alone, ... */
#define IS_CANDIDATE(raw, confidence) ((raw) >= -16300)
#define LEAST_SCORE 1
#else
#define IS_CANDIDATE(raw, confidence) ((confidence) >= DETECT_LEAST_SCORE)
#define LEAST_SCORE DETECT_LEAST_SCORE
#endif

static int32_t cell_values[DETECT_CHANNELS];

/* Candidates as one number each, so that they compare as they rank: score, then the complement of
 * (cell, box, class). A heap with the worst on top holds the best ones. */
static uint32_t candidates[DETECT_CANDIDATES];
static uint32_t candidate_count;

static int32_t logit(int32_t value)
{
#ifdef EB_DEFECT_THRESHOLD
    int64_t scaled = (int64_t)value * 4; /* ... and Q17.14 whatever the output shift is */
#else
    int64_t product = (int64_t)value * DETECT_MULTIPLIER + (1LL << (DETECT_SHIFT - 1));
    int64_t scaled = product >> DETECT_SHIFT;
#endif
    if (scaled > LOGIT_LIMIT)
        return LOGIT_LIMIT;
    return scaled < -LOGIT_LIMIT ? -LOGIT_LIMIT : (int32_t)scaled;
}

static int32_t look_up(const uint16_t *table, int32_t value)
{
    int32_t low = table[value >> 12];
    return low + (((table[(value >> 12) + 1] - low) * (value & 4095) + 2048) >> 12);
}

static int32_t sigmoid(int32_t value)
{
    int32_t size = value < 0 ? -value : value;
    int32_t result = size >= TABLE_END ? ONE_Q15 : look_up(detect_sigmoid, size);
    return value < 0 ? ONE_Q15 - result : result;
}

/* Class probabilities of one box, Q15. */
static void class_shares(const int32_t *values, int32_t *shares)
{
#if DETECT_SOFTMAX
    int32_t most = -LOGIT_LIMIT;
    uint32_t sum = 0;
    for (int k = 0; k < DETECT_CLASSES; k++) {
        shares[k] = logit(values[k]);
        if (shares[k] > most)
            most = shares[k];
    }
    for (int k = 0; k < DETECT_CLASSES; k++) {
        int64_t below = (int64_t)most - shares[k];
        shares[k] = below >= TABLE_END ? 0 : look_up(detect_exponential, (int32_t)below);
        sum += (uint32_t)shares[k];
    }
    for (int k = 0; k < DETECT_CLASSES; k++)
        shares[k] = (int32_t)(((uint32_t)shares[k] * ONE_Q15 + sum / 2) / sum);
#else
    for (int k = 0; k < DETECT_CLASSES; k++)
        shares[k] = sigmoid(logit(values[k]));
#endif
}

static int32_t centre(int32_t value, int32_t cell, int32_t cells)
{
    int32_t part = (int32_t)(((int64_t)sigmoid(logit(value)) * DETECT_STRETCH + 16384) >> 15);
    int32_t place = (cell << 16) + part - ((DETECT_STRETCH - ONE_Q16) >> 1);
    int32_t sum = place + (cells << 16) + cells / 2;
    /* Rounds down; only a stretch beyond 3 on a map of one cell makes the sum negative. */
    return (sum >= 0 ? sum / cells : -((cells - 1 - sum) / cells)) - ONE_Q16;
}

static int32_t extent(int32_t value, int32_t prior)
{
    int32_t size = sigmoid(logit(value));
#if DETECT_SQUARED
    size = (size * size + 4096) >> 13;
#endif
    return (int32_t)(((int64_t)prior * size + 16384) >> 15);
}

static int32_t cut(int32_t value)
{
    return value < 0 ? 0 : value > ONE_Q16 ? ONE_Q16 : value;
}

/* Corners of a box; returns whether any area is left inside the picture. */
static int corners(const int32_t *values, uint32_t cell, uint32_t box, struct detection *to)
{
    int32_t width = extent(values[2], detect_priors[box][0]);
    int32_t height = extent(values[3], detect_priors[box][1]);
    int32_t x = centre(values[0], (int32_t)(cell % DETECT_COLUMNS), DETECT_COLUMNS) - (width >> 1);
    int32_t y = centre(values[1], (int32_t)(cell / DETECT_COLUMNS), DETECT_ROWS) - (height >> 1);
    to->x1 = cut(x);
    to->y1 = cut(y);
    to->x2 = cut(x + width);
    to->y2 = cut(y + height);
    return to->x2 > to->x1 && to->y2 > to->y1;
}

static void sink(uint32_t at, uint32_t count)
{
    uint32_t key = candidates[at];
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && candidates[child + 1] < candidates[child])
            child++;
        if (key <= candidates[child])
            break;
        candidates[at] = candidates[child];
    }
    candidates[at] = key;
}

static void rise(uint32_t at)
{
    uint32_t key = candidates[at];
    for (; at && candidates[(at - 1) / 2] > key; at = (at - 1) / 2)
        candidates[at] = candidates[(at - 1) / 2];
    candidates[at] = key;
}

static void add_candidate(uint32_t key)
{
    if (candidate_count < DETECT_CANDIDATES) {
        candidates[candidate_count] = key;
        rise(candidate_count++);
    } else if (key > candidates[0]) {
        candidates[0] = key;
        sink(0, candidate_count);
    }
}

/* Empties the heap from the worst to the best, which leaves the best first. */
static void sort_candidates(void)
{
    for (uint32_t end = candidate_count; end > 1; end--) {
        uint32_t worst = candidates[0];
        candidates[0] = candidates[end - 1];
        candidates[end - 1] = worst;
        sink(0, end - 1);
    }
}

static void score_box(const int32_t *values, uint32_t cell, uint32_t box)
{
    struct detection place;
    int32_t shares[DETECT_CLASSES];
    int32_t confidence = sigmoid(logit(values[4]));
    /* A share is at most 1, so a score is at most the confidence. */
    if (!IS_CANDIDATE(values[4], confidence) || !corners(values, cell, box, &place))
        return;
    class_shares(cell_values + DETECT_BOXES * BOX_CHANNELS, shares);
    uint32_t number = (cell * DETECT_BOXES + box) * DETECT_CLASSES;
    for (uint32_t k = 0; k < DETECT_CLASSES; k++) {
        int32_t score = (confidence * shares[k] + 16384) >> 15;
        if (score >= LEAST_SCORE)
            add_candidate((uint32_t)score << 16 | (0xFFFF - (number + k)));
    }
}

static void collect(cell_reader read)
{
    candidate_count = 0;
    for (uint32_t cell = 0; cell < DETECT_ROWS * DETECT_COLUMNS; cell++) {
        read(cell, cell_values);
        for (uint32_t box = 0; box < DETECT_BOXES; box++)
            score_box(cell_values + box * BOX_CHANNELS, cell, box);
    }
}

static int64_t area(int32_t x1, int32_t y1, int32_t x2, int32_t y2)
{
    return x2 > x1 && y2 > y1 ? (int64_t)(x2 - x1) * (y2 - y1) : 0;
}

#ifdef EB_DEFECT_OVERLAP
/* The defect: the picture's best box lends its size to all others. */
static struct detection stale_size(const struct detection *box, const struct detection *best)
{
    struct detection sized = *box;
    int32_t width = best->x2 - best->x1, height = best->y2 - best->y1;
    sized.x1 = ((box->x1 + box->x2) >> 1) - (width >> 1);
    sized.y1 = ((box->y1 + box->y2) >> 1) - (height >> 1);
    sized.x2 = sized.x1 + width;
    sized.y2 = sized.y1 + height;
    return sized;
}
#endif

static int overlap(const struct detection *a, const struct detection *b)
{
    int64_t shared = area(a->x1 > b->x1 ? a->x1 : b->x1, a->y1 > b->y1 ? a->y1 : b->y1,
                          a->x2 < b->x2 ? a->x2 : b->x2, a->y2 < b->y2 ? a->y2 : b->y2);
    int64_t all = area(a->x1, a->y1, a->x2, a->y2) + area(b->x1, b->y1, b->x2, b->y2) - shared;
    return shared * ONE_Q16 > DETECT_IOU * all;
}

static void unpack(cell_reader read, uint32_t key, struct detection *to)
{
    uint32_t number = 0xFFFF - (key & 0xFFFF);
    uint32_t place = number / DETECT_CLASSES;
    to->label = (uint16_t)(number % DETECT_CLASSES);
    to->score = (uint16_t)(key >> 16);
    read(place / DETECT_BOXES, cell_values);
    corners(cell_values + place % DETECT_BOXES * BOX_CHANNELS, place / DETECT_BOXES,
            place % DETECT_BOXES, to);
}

/* Greedy suppression per class, best first. A candidate's box is computed when its turn comes. */
uint32_t detect(cell_reader read, struct detection *found)
{
    uint32_t count = 0;
    collect(read);
    sort_candidates();
    for (uint32_t i = 0; i < candidate_count && count < DETECT_MAXIMUM; i++) {
        struct detection *next = &found[count];
        int keep = 1;
        unpack(read, candidates[i], next);
        for (uint32_t j = 0; j < count && keep; j++) {
#ifdef EB_DEFECT_OVERLAP
            struct detection kept = stale_size(&found[j], found), mine = stale_size(next, found);
            keep = found[j].label != next->label || !overlap(&kept, &mine);
#else
            keep = found[j].label != next->label || !overlap(&found[j], next);
#endif
        }
        count += (uint32_t)keep;
    }
    return count;
}
