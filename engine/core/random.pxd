"""Random draws of simulations: xoshiro256** seeded by splitmix64, and distributions without libm.

Each draw is a few integer operations; only those and single IEEE operations decide anything, so a seed gives
the same draws on every machine. A state is four words that the caller owns and random_seed fills.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from *:
    """
    #define random_leading_zeros(x) __builtin_clzll(x)
    """
    int random_leading_zeros(uint64_t x) noexcept nogil


cdef inline uint64_t random_splitmix(uint64_t* state) noexcept nogil:
    cdef uint64_t x
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    x = state[0]
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef inline void random_seed(uint64_t* rng, uint64_t seed) noexcept nogil:
    cdef int i
    for i in range(4):
        rng[i] = random_splitmix(&seed)


cdef inline uint64_t random_rotate(uint64_t x, int k) noexcept nogil:
    return (x << k) | (x >> (64 - k))


cdef inline uint64_t random_draw(uint64_t* rng) noexcept nogil:
    cdef uint64_t result = random_rotate(rng[1] * 5, 7) * 9
    cdef uint64_t shifted = rng[1] << 17
    rng[2] ^= rng[0]
    rng[3] ^= rng[1]
    rng[1] ^= rng[2]
    rng[0] ^= rng[3]
    rng[2] ^= shifted
    rng[3] = random_rotate(rng[3], 45)
    return result


# Uniform in [0, n), n below 2**32.
cdef inline uint64_t random_below(uint64_t* rng, uint64_t n) noexcept nogil:
    return ((random_draw(rng) >> 32) * n) >> 32


# True so many times out of 1024.
cdef inline bint random_chance(uint64_t* rng, uint64_t of_1024) noexcept nogil:
    return random_draw(rng) >> 54 < of_1024


# In [1, 2**bits), every power of two as likely as the next: roughly 1/x. bits is at most 32.
cdef inline int64_t random_log_uniform(uint64_t* rng, uint32_t bits) noexcept nogil:
    cdef uint64_t draw = random_draw(rng)
    cdef uint64_t power = ((draw >> 32) * bits) >> 32
    return <int64_t>((<uint64_t>1 << power) | (draw & ((<uint64_t>1 << power) - 1)))


# Exponential without a logarithm, at least 1: in halvings of the survival probability, the whole ones are the
# leading zeros of a draw and the rest, -log2(1 - u/2), is within 0.001 of a cubic.
cdef inline int64_t random_exponential(uint64_t* rng, double mean) noexcept nogil:
    cdef uint64_t draw = random_draw(rng)
    cdef double u = <double>(draw & <uint64_t>0xFFFFFFFF) * (1.0 / 4294967296.0)
    cdef double rest = u * (0.7213 + u * (0.1563 + u * 0.1224))
    cdef int halvings = random_leading_zeros(draw | <uint64_t>0x80000000)
    return <int64_t>(mean * 0.6931471805599453 * (halvings + rest)) + 1
