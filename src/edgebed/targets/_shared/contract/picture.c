/* From a picture to the network's input, equal to the reference in every bit: resize, camera bits,
 * order of the channels, byte - 128. Planes of PICTURE_HEIGHT x PICTURE_WIDTH bytes, one a channel.
 *
 * Along an axis a destination pixel is a sum of source pixels with whole weights that add up to
 * `total`: the overlap of both pixels (area), 256 parts of two neighbours (bilinear), or one source
 * pixel (nearest). A byte is that sum over both axes, divided by both totals, rounded once. */

#define PICTURE_PLANE (PICTURE_WIDTH * PICTURE_HEIGHT)

struct rectangle {
    uint32_t x, y, width, height;
};

/* `count` source pixels from `first` on; weights of the first, of those between, and of the last. */
struct span {
    uint32_t first, count, weights[3];
};

static void put_pixel(int8_t *input, uint32_t x, uint32_t y, uint32_t red, uint32_t green,
                      uint32_t blue)
{
    int8_t *to = input + y * PICTURE_WIDTH + x;
    if (PICTURE_CUT) { /* to 5, 6 and 5 bits; the missing low bits repeat the high ones */
        red = (red & 0xF8) | red >> 5;
        green = (green & 0xFC) | green >> 6;
        blue = (blue & 0xF8) | blue >> 5;
    }
    to[PICTURE_RED * PICTURE_PLANE] = (int8_t)((int32_t)red - 128);
    to[1 * PICTURE_PLANE] = (int8_t)((int32_t)green - 128);
    to[(2 - PICTURE_RED) * PICTURE_PLANE] = (int8_t)((int32_t)blue - 128);
}

/* Both axes in units in which a source pixel is `size` long and a destination pixel `source`. */
static void area_span(uint32_t at, uint32_t source, uint32_t size, struct span *to)
{
    uint32_t begin = at * source, end = begin + source, last = (end - 1) / size;
    to->first = begin / size;
    to->count = last - to->first + 1;
    to->weights[0] = (to->count == 1 ? end : (to->first + 1) * size) - begin;
    to->weights[1] = size;
    to->weights[2] = end - last * size;
}

static void bilinear_span(uint32_t at, uint32_t source, uint32_t size, struct span *to)
{
    uint32_t middle = (2 * at + 1) * source * 128 / size, end = 256 * (source - 1);
    uint32_t place = middle < 128 ? 0 : middle - 128;
    if (place > end)
        place = end;
    to->first = place >> 8;
    to->count = place & 255 ? 2 : 1;
    to->weights[0] = 256 - (place & 255);
    to->weights[2] = place & 255;
}

/* What destination pixel `at` of `size` is made of; returns the sum of all weights. */
static uint32_t find_span(uint32_t at, uint32_t source, uint32_t size, struct span *to)
{
    if (PICTURE_SCALING == PICTURE_AREA && size <= source) {
        area_span(at, source, size, to);
        return source;
    }
    if (PICTURE_SCALING != PICTURE_NEAREST) {
        bilinear_span(at, source, size, to);
        return 256;
    }
    to->first = (2 * at + 1) * source / (2 * size);
    to->count = to->weights[0] = 1;
    return 1;
}

static uint32_t span_weight(const struct span *span, uint32_t number)
{
    if (!number)
        return span->weights[0];
    return span->weights[number + 1 == span->count ? 2 : 1];
}

/* One pixel; `total` is the product of both axes' weights. */
static void scale_pixel(const uint8_t *rgb, uint32_t width, const struct span *across,
                        const struct span *down, uint32_t total, uint32_t *colours)
{
    uint32_t red = total / 2, green = red, blue = red;
    for (uint32_t i = 0; i < down->count; i++) {
        const uint8_t *from = rgb + 3 * ((down->first + i) * width + across->first);
        uint32_t share = span_weight(down, i);
        for (uint32_t j = 0; j < across->count; j++, from += 3) {
            uint32_t weight = share * span_weight(across, j);
            red += weight * from[0];
            green += weight * from[1];
            blue += weight * from[2];
        }
    }
    colours[0] = red / total;
    colours[1] = green / total;
    colours[2] = blue / total;
}

static uint32_t rounded_ratio(uint32_t numerator, uint32_t denominator)
{
    return (2 * numerator + denominator) / (2 * denominator);
}

static void centre_in(uint32_t outer_width, uint32_t outer_height, struct rectangle *what)
{
    what->width = !what->width ? 1 : what->width > outer_width ? outer_width : what->width;
    what->height = !what->height ? 1 : what->height > outer_height ? outer_height : what->height;
    what->x = (outer_width - what->width) / 2;
    what->y = (outer_height - what->height) / 2;
}

/* Which part of the picture is seen, and where in the input it goes. */
static void fit_picture(uint32_t width, uint32_t height, struct rectangle *seen,
                        struct rectangle *target)
{
    uint32_t wide = width * PICTURE_HEIGHT >= height * PICTURE_WIDTH;
    seen->width = width;
    seen->height = height;
    target->width = PICTURE_WIDTH;
    target->height = PICTURE_HEIGHT;
    if (PICTURE_FIT == PICTURE_LETTERBOX && wide)
        target->height = rounded_ratio(height * PICTURE_WIDTH, width);
    else if (PICTURE_FIT == PICTURE_LETTERBOX)
        target->width = rounded_ratio(width * PICTURE_HEIGHT, height);
    else if (PICTURE_FIT == PICTURE_CROP && wide)
        seen->width = rounded_ratio(height * PICTURE_WIDTH, PICTURE_HEIGHT);
    else if (PICTURE_FIT == PICTURE_CROP)
        seen->height = rounded_ratio(width * PICTURE_HEIGHT, PICTURE_WIDTH);
    centre_in(width, height, seen);
    centre_in(PICTURE_WIDTH, PICTURE_HEIGHT, target);
}

static void scale_row(const uint8_t *rgb, uint32_t width, uint32_t y, const struct rectangle *seen,
                      const struct rectangle *target, int8_t *input)
{
    struct span down, across;
    uint32_t colours[3], rows = find_span(y - target->y, seen->height, target->height, &down);
    down.first += seen->y;
    for (uint32_t x = target->x; x < target->x + target->width; x++) {
        uint32_t total = rows * find_span(x - target->x, seen->width, target->width, &across);
        across.first += seen->x;
        scale_pixel(rgb, width, &across, &down, total, colours);
        put_pixel(input, x, y, colours[0], colours[1], colours[2]);
    }
}

static int32_t prepare_scaled(const uint8_t *rgb, uint32_t width, uint32_t height, int8_t *input)
{
    struct rectangle seen, target;
    if (!width || !height || width > PICTURE_MOST || height > PICTURE_MOST)
        return 0;
    fit_picture(width, height, &seen, &target);
    for (uint32_t y = 0; y < PICTURE_HEIGHT; y++)
        for (uint32_t x = 0; x < PICTURE_WIDTH; x++)
            if (x - target.x >= target.width || y - target.y >= target.height)
                put_pixel(input, x, y, PICTURE_FILL, PICTURE_FILL, PICTURE_FILL);
    for (uint32_t y = target.y; y < target.y + target.height; y++)
        scale_row(rgb, width, y, &seen, &target, input);
    return 1;
}

static void prepare(const uint8_t *rgb, int8_t *input)
{
    for (uint32_t y = 0; y < PICTURE_HEIGHT; y++)
        for (uint32_t x = 0; x < PICTURE_WIDTH; x++, rgb += 3)
            put_pixel(input, x, y, rgb[0], rgb[1], rgb[2]);
}
