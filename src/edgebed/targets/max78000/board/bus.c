/* The busy registers of the virtual board, in C so that firmware which polls runs at full speed.
 *
 * Everything here exists a second time in bus_python.py, on the same state (state.py). Both must
 * give the same values and the same virtual time. What is not handled goes to slow_read and
 * slow_write, the Python side. Times are in 1/16 CPU cycles, so that a cycle factor with a
 * fraction stays exact. */
#include <stdint.h>

typedef uint64_t u64;

typedef struct {
    /* time */
    u64 now, limit, cycle_factor, instructions;
    u64 attention; /* bit 0: pause at the next block; bit 1: pause there unless masked */
    u64 last_block, last_size, last_count;
    u64 paused; /* the block hook stopped the core */
    u64 pending_priority; /* of what bit 1 of attention is about */
    /* emulator */
    u64 stop, register_read, primask, basepri, faultmask;
    u64 slow_read, slow_write;
    /* code memories: two of them, counts per half-word */
    u64 code_base[2], code_size[2], code[2], counts[2], cached[2];
    /* UART0 */
    u64 rx, rx_mask, rx_head, rx_tail, tx, tx_size, tx_length, uart_polls, uart_waits;
    /* SPI0 to the display: 16-bit entries, byte and data/command level */
    u64 spi, spi_size, spi_length, spi_free, spi_byte_time;
    u64 gpio_out[3], dc_port, dc_mask;
    /* accelerator */
    u64 cnn_on, log, log_size, log_length;
    u64 fifo[4], fifo_size, fifo_length[4], fifo_enabled, fifo_lost;
    u64 fifo_started, fifo_start, fifo_period, fifo_depth;
    /* SysTick, cycle counter, timers */
    u64 tick_on, tick_reload, tick_origin, tick_flag_time;
    u64 cycles_on, cycles_origin;
    u64 timer_on[4], timer_origin[4], timer_base[4], timer_period[4], timer_step[4];
    /* camera FIFO read by the CPU */
    u64 camera, camera_length, camera_position;
    /* regions: base address of each MMIO mapping */
    u64 region_base[8];
} Bus;

typedef struct {
    Bus *bus;
    u64 base;
} Region;

typedef int (*Stop)(void *);
typedef int (*RegisterRead)(void *, int, void *);
typedef u64 (*SlowRead)(u64, u64);
typedef void (*SlowWrite)(u64, u64, u64);

enum { UART0 = 0x40042000u, SPI0 = 0x400be000u, GPIO0 = 0x40008000u, TMR0 = 0x40010000u };
enum { CAMERA = 0x4000e000u, UART_DEPTH = 8 };
#define GPIO2 0x40080400u
#define SYSTICK 0xe000e010u
#define CYCCNT 0xe0001004u
#define CNN 0x50000000u

/* A poll that must wait skips ahead, but never over the next event. */
static void skip_to(Bus *bus, u64 time) {
    if (time > bus->limit) time = bus->limit;
    if (time > bus->now) bus->now = time;
}

/* ---- UART0 ---- */

static u64 uart_status(Bus *bus) {
    u64 level = bus->rx_head - bus->rx_tail;
    if (level > UART_DEPTH) level = UART_DEPTH;
    if (level) {
        bus->uart_polls = 0;
        return 0x40 | (level == UART_DEPTH ? 0x20 : 0) | level << 8;
    }
    if (++bus->uart_polls >= bus->uart_waits) bus->attention |= 1;
    return 0x50;
}

static u64 uart_receive(Bus *bus) {
    if (bus->rx_head == bus->rx_tail) return 0;
    return ((const uint8_t *)(uintptr_t)bus->rx)[bus->rx_tail++ & bus->rx_mask];
}

static void uart_send(Bus *bus, u64 value) {
    bus->uart_polls = 0;
    ((uint8_t *)(uintptr_t)bus->tx)[bus->tx_length++] = (uint8_t)value;
    if (bus->tx_length == bus->tx_size) bus->attention |= 1;
}

/* ---- SPI0 ---- */

static u64 spi_busy(Bus *bus) {
    skip_to(bus, bus->spi_free);
    return bus->spi_free > bus->now;
}

static int data_level(const Bus *bus) {
    return (bus->gpio_out[bus->dc_port] & bus->dc_mask) != 0;
}

static void spi_send(Bus *bus, u64 value, u64 size) {
    uint16_t *log = (uint16_t *)(uintptr_t)bus->spi;
    uint16_t level = (uint16_t)(data_level(bus) << 8);
    if (bus->spi_free < bus->now) bus->spi_free = bus->now;
    for (u64 i = 0; i < size; i++) {
        log[bus->spi_length++] = (uint16_t)(level | (value >> 8 * i & 255));
        bus->spi_free += bus->spi_byte_time;
    }
    if (bus->spi_length + 8 > bus->spi_size) bus->attention |= 1;
}

/* ---- accelerator ---- */

/* Words of FIFO i that the first layer has taken by now. */
static u64 fifo_taken(const Bus *bus) {
    if (!bus->fifo_started || bus->now <= bus->fifo_start || !bus->fifo_period) return 0;
    return (bus->now - bus->fifo_start) / bus->fifo_period;
}

static u64 fifo_status(Bus *bus) {
    u64 status = 0;
    if (!bus->fifo_depth) return 0;
    for (int i = 0; i < 4; i++) {
        if (bus->fifo_length[i] < fifo_taken(bus) + bus->fifo_depth) continue;
        if (bus->fifo_started) {
            u64 free = bus->fifo_length[i] - bus->fifo_depth + 1;
            skip_to(bus, bus->fifo_start + free * bus->fifo_period);
        }
        if (bus->fifo_length[i] >= fifo_taken(bus) + bus->fifo_depth) status |= 1u << i;
    }
    return status;
}

static void fifo_push(Bus *bus, unsigned i, u64 value) {
    if (bus->fifo_depth && bus->fifo_length[i] >= fifo_taken(bus) + bus->fifo_depth)
        bus->fifo_lost++;
    ((uint32_t *)(uintptr_t)bus->fifo[i])[bus->fifo_length[i]++] = (uint32_t)value;
    if (bus->fifo_length[i] == bus->fifo_size) bus->attention |= 1;
}

/* Kernel and bias memories and layer registers only store; they are handed over in bulk. */
static int cnn_stores(u64 address) {
    u64 offset = address & 0x3fffff;
    return offset >= 0x100010 && offset != 0x101000;
}

static int cnn_write(Bus *bus, u64 address, u64 size, u64 value) {
    if (!bus->cnn_on) return 0;
    if (address >= CNN + 8 && address < CNN + 24 && size == 4) {
        fifo_push(bus, (unsigned)(address - CNN - 8) / 4, value);
        return 1;
    }
    if (!cnn_stores(address) || bus->log_length == bus->log_size) return 0;
    uint32_t *entry = (uint32_t *)(uintptr_t)bus->log + 3 * bus->log_length++;
    entry[0] = (uint32_t)address;
    entry[1] = (uint32_t)value;
    entry[2] = (uint32_t)size;
    return 1;
}

/* ---- SysTick, cycle counter, timers ---- */

static u64 tick_count(const Bus *bus, u64 time) {
    u64 period = (bus->tick_reload + 1) * 16;
    return (time - bus->tick_origin) / period;
}

static u64 tick_control(Bus *bus) {
    u64 flag = 0;
    if (bus->tick_on & 1) {
        flag = tick_count(bus, bus->now) != tick_count(bus, bus->tick_flag_time);
        bus->tick_flag_time = bus->now;
    }
    return bus->tick_on | flag << 16;
}

static u64 tick_value(const Bus *bus) {
    if (!(bus->tick_on & 1)) return 0;
    u64 period = (bus->tick_reload + 1) * 16;
    return bus->tick_reload - (bus->now - bus->tick_origin) % period / 16;
}

static u64 timer_count(const Bus *bus, unsigned i) {
    if (!bus->timer_on[i]) return bus->timer_base[i];
    u64 count = bus->timer_base[i] + (bus->now - bus->timer_origin[i]) / bus->timer_step[i];
    u64 period = bus->timer_period[i];
    return period && count > period ? 1 + (count - 1) % period : count;
}

/* ---- dispatch ---- */

static int fast_read(Bus *bus, u64 address, u64 *value) {
    switch (address) {
    case UART0 + 0x04: *value = uart_status(bus); return 1;
    case UART0 + 0x20: *value = uart_receive(bus); return 1;
    case SPI0 + 0x30: *value = spi_busy(bus); return 1;
    case CAMERA + 0x30:
        if (bus->camera_position >= bus->camera_length) return 0;
        *value = ((const uint32_t *)(uintptr_t)bus->camera)[bus->camera_position++];
        return 1;
    case SYSTICK: *value = tick_control(bus); return 1;
    case SYSTICK + 8: *value = tick_value(bus); return 1;
    case CYCCNT:
        if (!bus->cycles_on) return 0;
        *value = (bus->now / 16 - bus->cycles_origin) & 0xffffffffu;
        return 1;
    case CNN + 4:
        if (!bus->cnn_on) return 0;
        *value = fifo_status(bus);
        return 1;
    default: break;
    }
    if (address >= TMR0 && address < TMR0 + 0x4000 && (address & 0xfff) == 0) {
        *value = timer_count(bus, (unsigned)(address - TMR0) >> 12);
        return 1;
    }
    return 0;
}

static int gpio_port(u64 address) {
    if ((address & ~(u64)0x1fff) == GPIO0) return (int)(address >> 12 & 1);
    return (address & ~(u64)0x3ff) == GPIO2 ? 2 : -1;
}

/* Output set and clear; the other registers of a port are rarely touched. */
static int gpio_write(Bus *bus, u64 address, u64 value) {
    int port = gpio_port(address);
    if (port < 0) return 0;
    u64 offset = address & (port == 2 ? 0x3ff : 0xfff);
    if (offset == 0x1c) bus->gpio_out[port] |= value;
    else if (offset == 0x20) bus->gpio_out[port] &= ~value;
    else return 0;
    return 1;
}

static int fast_write(Bus *bus, u64 address, u64 size, u64 value) {
    if (address >= CNN && address < 0x52000000u) return cnn_write(bus, address, size, value);
    if (address == UART0 + 0x20) uart_send(bus, value);
    else if (address >= SPI0 && address < SPI0 + 4) spi_send(bus, value, size);
    else return gpio_write(bus, address, value);
    return 1;
}

u64 bus_read(void *uc, u64 offset, unsigned size, void *data) {
    const Region *region = data;
    u64 address = region->base + offset, value = 0;
    (void)uc;
    if (fast_read(region->bus, address, &value)) return value;
    return ((SlowRead)(uintptr_t)region->bus->slow_read)(address, size);
}

void bus_write(void *uc, u64 offset, unsigned size, u64 value, void *data) {
    const Region *region = data;
    u64 address = region->base + offset;
    (void)uc;
    if (fast_write(region->bus, address, size, value)) return;
    ((SlowWrite)(uintptr_t)region->bus->slow_write)(address, size, value);
}

/* ---- counting ---- */

/* Thumb instructions in a block: a first half-word from 0xe800 up has a second one. */
static u64 count_thumb(const uint16_t *code, u64 halfwords) {
    u64 count = 0;
    for (u64 i = 0; i < halfwords; count++) i += code[i] >= 0xe800 ? 2 : 1;
    return count;
}

static u64 count_block(Bus *bus, u64 address, u64 size) {
    for (int m = 0; m < 2; m++) {
        u64 offset = address - bus->code_base[m];
        if (offset + size > bus->code_size[m]) continue;
        u64 *cached = (u64 *)(uintptr_t)bus->cached[m] + offset / 2;
        /* RAM code may change; flash is counted once. */
        if (m || *cached >> 32 != size) {
            const uint16_t *code = (const uint16_t *)(uintptr_t)bus->code[m] + offset / 2;
            *cached = size << 32 | count_thumb(code, size / 2);
        }
        u64 count = *cached & 0xffffffffu;
        ((u64 *)(uintptr_t)bus->counts[m])[offset / 2] += count;
        return count;
    }
    return 0;
}

static int masked(const Bus *bus, void *uc) {
    RegisterRead read = (RegisterRead)(uintptr_t)bus->register_read;
    u64 primask = 0, faultmask = 0, basepri = 0;
    read(uc, (int)bus->primask, &primask);
    read(uc, (int)bus->faultmask, &faultmask);
    read(uc, (int)bus->basepri, &basepri);
    if (basepri && bus->pending_priority >= basepri) return 1;
    return (primask | faultmask) & 1;
}

void bus_block(void *uc, u64 address, uint32_t size, void *data) {
    Bus *bus = data;
    u64 count = count_block(bus, address, size);
    bus->last_block = address;
    bus->last_size = size;
    bus->last_count = count;
    bus->instructions += count;
    bus->now += count * bus->cycle_factor;
    if (bus->now >= bus->limit || bus->attention & 1 ||
        (bus->attention & 2 && !masked(bus, uc))) {
        bus->paused = 1;
        ((Stop)(uintptr_t)bus->stop)(uc);
    }
}
