/* CRC-32C (Castagnoli), by the processor's own instruction where it has one, chosen at run time.
 *
 * Cost: 8 bytes every 3 cycles with SSE4.2 or ARM's CRC extension, about 1.5 bytes a cycle by tables.
 * Bad case: buffers of odd sizes, whose last bytes go one by one.
 *
 * Not inverted at either end: a chain of records is one CRC that goes on, and crc32c(crc32c(s, a), b) is
 * crc32c(s, ab). The checksum that others call CRC-32C is ~crc32c(~0, data).
 */
#ifndef RINGBOOK_CRC32C_H
#define RINGBOOK_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static uint32_t crc32c_tables[8][256];

static void crc32c_make_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
        crc32c_tables[0][byte] = crc;
    }
    for (int table = 1; table < 8; table++)
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t before = crc32c_tables[table - 1][byte];
            crc32c_tables[table][byte] = (before >> 8) ^ crc32c_tables[0][before & 0xff];
        }
}

static uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t size) {
    const unsigned char *p = (const unsigned char *)data;
    for (; size >= 8; p += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= crc;
        crc = crc32c_tables[7][word & 0xff] ^ crc32c_tables[6][(word >> 8) & 0xff] ^
              crc32c_tables[5][(word >> 16) & 0xff] ^ crc32c_tables[4][(word >> 24) & 0xff] ^
              crc32c_tables[3][(word >> 32) & 0xff] ^ crc32c_tables[2][(word >> 40) & 0xff] ^
              crc32c_tables[1][(word >> 48) & 0xff] ^ crc32c_tables[0][word >> 56];
    }
    for (; size > 0; p++, size--)
        crc = (crc >> 8) ^ crc32c_tables[0][(crc ^ *p) & 0xff];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_by_cpu(uint32_t crc, const void *data, size_t size) {
    const unsigned char *p = (const unsigned char *)data;
    uint64_t wide = crc;
    for (; size >= 8; p += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    if (size >= 4) {
        uint32_t half;
        memcpy(&half, p, 4);
        crc = _mm_crc32_u32(crc, half);
        p += 4, size -= 4;
    }
    for (; size > 0; p++, size--)
        crc = _mm_crc32_u8(crc, *p);
    return crc;
}

static int crc32c_cpu_has_it(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") != 0;
}
#elif defined(__aarch64__)
/* As assembly, because compilers name the builtin differently and want a flag for it. */
static uint32_t crc32c_by_cpu(uint32_t crc, const void *data, size_t size) {
    const unsigned char *p = (const unsigned char *)data;
    for (; size >= 8; p += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    }
    for (; size > 0; p++, size--)
        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)*p));
    return crc;
}

static int crc32c_cpu_has_it(void) {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & (1UL << 7)) != 0; /* HWCAP_CRC32 */
#else
    return 1; /* every Mac with an ARM processor */
#endif
}
#else
static uint32_t crc32c_by_cpu(uint32_t crc, const void *data, size_t size) {
    return crc32c_by_table(crc, data, size);
}

static int crc32c_cpu_has_it(void) { return 0; }
#endif

#endif
