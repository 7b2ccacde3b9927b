/* What the user sees: the picture with boxes, and a panel with scores and times. */
#include "screen.h"

#include "font.h"
#include "lcd.h"
#include "network.h"
#include "system.h"

#define PICTURE_WIDTH (CAMERA_WIDTH * SCREEN_SCALE)
#define PICTURE_HEIGHT (CAMERA_HEIGHT * SCREEN_SCALE)
#define PICTURE_TOP ((LCD_HEIGHT - PICTURE_HEIGHT) / 2)
#define PANEL_LEFT PICTURE_WIDTH
#define PANEL_WIDTH (LCD_WIDTH - PICTURE_WIDTH)
#define LINE_HEIGHT 10
#define LINES (LCD_HEIGHT / LINE_HEIGHT)
#define FIRST_SCORE_LINE 7
#define LINE_CHARACTERS 15
#define LINE_WIDTH 96
#define MARGIN 5
#define HAS_PANEL (PANEL_WIDTH >= LINE_WIDTH)
#define BOX_LINE 2

#define BLACK 0x0000
#define WHITE 0xFFFF
#define GREY 0x8C71
#define BACKGROUND 0x10A3
#define ACCENT 0x4E7F

/* A drawing surface in memory: RGB565, high byte first. */
struct surface {
    uint8_t *pixels;
    int32_t width, height;
};

struct line {
    char text[LINE_CHARACTERS + 1];
    uint16_t colour;
    uint16_t swatch; /* colour of a block before the text; BACKGROUND for none */
};

static struct line shown[LINES]; /* what the panel shows now, to send only what changes */
static uint8_t strip[2][2 * LINE_WIDTH * LINE_HEIGHT] __attribute__((aligned(4)));
static uint32_t strip_in_use;

int32_t screen_pixel(int32_t fraction, int32_t size)
{
    return (int32_t)(((int64_t)fraction * size + 32768) >> 16);
}

static void fill(const struct surface *on, int32_t x1, int32_t y1, int32_t x2, int32_t y2,
                 uint16_t colour)
{
    x1 = x1 < 0 ? 0 : x1;
    y1 = y1 < 0 ? 0 : y1;
    x2 = x2 > on->width ? on->width : x2;
    y2 = y2 > on->height ? on->height : y2;
    for (int32_t y = y1; y < y2; y++) {
        uint8_t *at = on->pixels + 2 * (y * on->width + x1);
        for (int32_t x = x1; x < x2; x++) {
            *at++ = (uint8_t)(colour >> 8);
            *at++ = (uint8_t)colour;
        }
    }
}

static void glyph(const struct surface *on, int32_t x, int32_t y, char c, uint16_t colour)
{
    const uint8_t *rows = font[(c < FONT_FIRST || c > FONT_LAST ? '?' : c) - FONT_FIRST];
    for (int32_t row = 0; row < FONT_HEIGHT; row++)
        for (int32_t column = 0; column < 5; column++)
            if (rows[row] >> (4 - column) & 1)
                fill(on, x + column, y + row, x + column + 1, y + row + 1, colour);
}

static void text(const struct surface *on, int32_t x, int32_t y, const char *string,
                 uint16_t colour)
{
    for (; *string; string++, x += FONT_WIDTH)
        glyph(on, x, y, *string, colour);
}

/* Appends to a string that must not grow beyond LINE_CHARACTERS. */
static void append(char *to, const char *from)
{
    uint32_t at = 0;
    while (to[at])
        at++;
    while (*from && at < LINE_CHARACTERS)
        to[at++] = *from++;
    to[at] = 0;
}

static void append_number(char *to, uint32_t value)
{
    char digits[11];
    char *at = digits + sizeof digits - 1;
    *at = 0;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    append(to, at);
}

/* 123 -> 12.3 */
static void append_tenths(char *to, uint32_t tenths)
{
    append_number(to, tenths / 10);
    append(to, ".");
    append_number(to, tenths % 10);
}

static uint32_t percent(uint16_t score)
{
    return ((uint32_t)score * 100 + 16384) >> 15;
}

/* Black text on light colours, white text on dark ones. */
static uint16_t text_on(uint16_t colour)
{
    uint32_t light = (colour >> 11) * 2 * 3 + (colour >> 5 & 63) * 6 + (colour & 31) * 2;
    return light > 310 ? BLACK : WHITE;
}

static void label(const struct surface *on, int32_t x, int32_t y, const struct detection *what)
{
    char string[LINE_CHARACTERS + 1] = "";
    uint16_t colour = screen_colours[what->label];
    int32_t characters = 0;
    append(string, network_classes[what->label]);
    append(string, " ");
    append_number(string, percent(what->score));
    while (string[characters])
        characters++;
    int32_t width = characters * FONT_WIDTH + 2;
    if (x + width > on->width)
        x = on->width - width;
    x = x < 0 ? 0 : x;
    y = y < FONT_HEIGHT + 1 ? 0 : y - FONT_HEIGHT - 1;
    fill(on, x, y, x + width, y + FONT_HEIGHT + 1, colour);
    text(on, x + 2, y + 1, string, text_on(colour));
}

static void box(const struct surface *on, const struct detection *what)
{
    uint16_t colour = screen_colours[what->label];
    int32_t x1 = screen_pixel(what->x1, on->width), x2 = screen_pixel(what->x2, on->width);
    int32_t y1 = screen_pixel(what->y1, on->height), y2 = screen_pixel(what->y2, on->height);
    fill(on, x1, y1, x2, y1 + BOX_LINE, colour);
    fill(on, x1, y2 - BOX_LINE, x2, y2, colour);
    fill(on, x1, y1, x1 + BOX_LINE, y2, colour);
    fill(on, x2 - BOX_LINE, y1, x2, y2, colour);
    label(on, x1, y1, what);
}

static int same(const struct line *a, const struct line *b)
{
    for (uint32_t i = 0; i <= LINE_CHARACTERS; i++) {
        if (a->text[i] != b->text[i])
            return 0;
        if (!a->text[i])
            break;
    }
    return a->colour == b->colour && a->swatch == b->swatch;
}

/* Draws one panel line into the strip that is not being sent, and sends it. */
static void show_line(uint32_t number, const struct line *line)
{
    if (!HAS_PANEL || same(line, &shown[number]))
        return;
    shown[number] = *line;
    strip_in_use ^= 1;
    struct surface on = {strip[strip_in_use], LINE_WIDTH, LINE_HEIGHT};
    fill(&on, 0, 0, on.width, on.height, BACKGROUND);
    if (line->swatch != BACKGROUND)
        fill(&on, MARGIN, 1, MARGIN + 7, 8, line->swatch);
    text(&on, line->swatch == BACKGROUND ? MARGIN : MARGIN + 10, 1, line->text, line->colour);
    lcd_send(PANEL_LEFT, number * LINE_HEIGHT, (uint32_t)on.width, LINE_HEIGHT, on.pixels);
}

static void show_value(uint32_t number, const char *name, uint32_t tenths, const char *unit)
{
    struct line line = {"", WHITE, BACKGROUND};
    append(line.text, name);
    append_tenths(line.text, tenths);
    append(line.text, unit);
    show_line(number, &line);
}

static void show_text(uint32_t number, const char *string, uint16_t colour)
{
    struct line line = {"", colour, BACKGROUND};
    append(line.text, string);
    show_line(number, &line);
}

/* "person    87%": the name is cut or padded, so that the numbers stand below each other. */
static void show_score(uint32_t number, const struct detection *what)
{
    struct line line = {"", WHITE, screen_colours[what->label]};
    uint32_t value = percent(what->score), at = 0;
    for (const char *name = network_classes[what->label]; *name && at < 8; at++)
        line.text[at] = *name++;
    for (; at < 9U + (value < 100); at++)
        line.text[at] = ' ';
    append_number(line.text, value);
    append(line.text, "%");
    show_line(number, &line);
}

static void show_panel(const struct detection *found, uint32_t count,
                       const struct frame_times *times)
{
    struct line head = {"", GREY, BACKGROUND};
    show_value(3, "CNN  ", times->cnn / (TIMER_HZ / 10000), " ms");
    if (times->frame)
        show_value(4, "     ", (TIMER_HZ * 10UL + times->frame / 2) / times->frame, " fps");
    append_number(head.text, count);
    append(head.text, count == 1 ? " object" : " objects");
    show_line(5, &head);
    for (uint32_t i = 0; i < LINES - FIRST_SCORE_LINE; i++) {
        if (i < count)
            show_score(FIRST_SCORE_LINE + i, &found[i]);
        else
            show_text(FIRST_SCORE_LINE + i, "", WHITE);
    }
}

#if SCREEN_SCALE > 1
/* A small picture is enlarged row by row into two row buffers that take turns. */
static void send_picture(const uint8_t *frame)
{
    static uint8_t rows[2][2 * PICTURE_WIDTH] __attribute__((aligned(4)));
    for (uint32_t y = 0; y < PICTURE_HEIGHT; y++) {
        uint8_t *to = rows[y & 1];
        const uint8_t *from = frame + y / SCREEN_SCALE * 2 * CAMERA_WIDTH;
        for (uint32_t x = 0; x < PICTURE_WIDTH; x++) {
            to[2 * x] = from[x / SCREEN_SCALE * 2];
            to[2 * x + 1] = from[x / SCREEN_SCALE * 2 + 1];
        }
        lcd_send(0, PICTURE_TOP + y, PICTURE_WIDTH, 1, to);
    }
}
#else
static void send_picture(const uint8_t *frame)
{
    lcd_send(0, PICTURE_TOP, PICTURE_WIDTH, PICTURE_HEIGHT, frame);
}
#endif

/* Paints the whole display with the background, a strip at a time. */
static void clear(void)
{
    struct surface on = {strip[0], LINE_WIDTH, LINE_HEIGHT};
    fill(&on, 0, 0, on.width, on.height, BACKGROUND);
    for (uint32_t y = 0; y < LCD_HEIGHT; y += LINE_HEIGHT)
        for (uint32_t x = 0; x < LCD_WIDTH; x += LCD_WIDTH / 4)
            lcd_send(x, y, LCD_WIDTH / 4, LINE_HEIGHT, on.pixels);
    lcd_finish();
}

void screen_start_up(void)
{
    lcd_start_up();
    clear();
    for (uint32_t i = 0; i < LINES; i++)
        shown[i].swatch = shown[i].colour = BACKGROUND;
    show_text(0, "edgebed", ACCENT);
    show_text(1, NETWORK_NAME, GREY);
    lcd_finish();
}

/* The panel goes out first: then the last bytes in flight are the picture's second half, and the
 * camera, which needs the time of a whole sensor picture for its rows, can follow behind. */
void screen_show(uint8_t *frame, const struct detection *found, uint32_t count,
                 const struct frame_times *times)
{
    struct surface picture = {frame, CAMERA_WIDTH, CAMERA_HEIGHT};
    for (uint32_t i = count; i--;) /* the best one last, on top */
        box(&picture, &found[i]);
    show_panel(found, count, times);
    send_picture(frame);
}

void screen_wait_for_camera(void)
{
    lcd_wait(0);
}
