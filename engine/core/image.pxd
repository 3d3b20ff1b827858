"""State written down: one function a structure, which moves its fields out into bytes or back in from them.

What it is
    A growing buffer on the way out, a bounded one on the way in. Because the same function goes both ways, what
    is written is what is read, in the same order. Fields are moved as they lie in memory, little-endian on every
    machine that we run on; pointers never are. Sizes that the configuration decides are held against what was
    written, so an image is read into a structure of the same shape or not at all.

What it costs
    A copy of each field. An array of which most is zero costs a look at all of it, and as many bytes as are not.

The bad case
    The first fault (the bytes end, a size or a kind is another) stays as the code; nothing is moved after it, and
    counts are 0. What was being read into is then half filled: whoever reads begins anew with another one.
"""

from libc.stdint cimport uint8_t, uint64_t

from engine.core.codes cimport ERR_IMAGE_OTHER, OK


cdef struct Image:
    uint8_t* data
    uint64_t n                   # written or read so far
    uint64_t room                # allocated, or there to be read
    bint loading
    int code                     # the first fault


# Moves so many bytes that lie together.
cdef void image_move(Image* image, void* field, uint64_t size) noexcept nogil
# What has to be the same on both sides: ERR_IMAGE_OTHER where it is not.
cdef void image_same(Image* image, const void* field, uint64_t size) noexcept nogil
# Moves an array of n items, of which only those that are not all zeros take room.
cdef void image_sparse(Image* image, void* items, uint64_t n, uint64_t size) noexcept nogil


cdef inline void image_fault(Image* image, int code) noexcept nogil:
    if image.code == OK:
        image.code = code


# A number that has to be the same on both sides.
cdef inline void image_match(Image* image, uint64_t value) noexcept nogil:
    image_same(image, &value, sizeof(value))


# Moves a count: what it is afterwards, 0 after a fault. One above the most is a fault.
cdef inline uint64_t image_count(Image* image, uint64_t n, uint64_t most) noexcept nogil:
    image_move(image, &n, sizeof(n))
    if n > most:
        image_fault(image, ERR_IMAGE_OTHER)
    return n if image.code == OK else 0


# An image as Python has it.
cdef class ImageBuffer:
    cdef Image image
    cdef bytes given             # what is read; None of one that is written
