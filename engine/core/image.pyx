"""Moving state out into bytes and back in; image.pxd says how it is used."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from engine.core.codes cimport ERR_IMAGE_CUT, ERR_IMAGE_OTHER, ERR_NO_MEMORY, OK

from engine.core.errors import raise_for_code

cdef enum:
    FIRST_ROOM = 1 << 16


cdef bint _fits(Image* image, uint64_t size) noexcept nogil:
    """Whether so many bytes more can be moved; makes room on the way out."""
    cdef uint64_t room = image.room
    cdef uint8_t* data
    if image.code != OK:
        return False
    if size <= room - image.n:
        return True
    if image.loading:
        image.code = ERR_IMAGE_CUT
        return False
    room = max(room, <uint64_t>FIRST_ROOM)
    while room - image.n < size:
        room *= 2
    data = <uint8_t*>realloc(image.data, room)
    if data == NULL:
        image.code = ERR_NO_MEMORY
        return False
    image.data, image.room = data, room
    return True


cdef void image_move(Image* image, void* field, uint64_t size) noexcept nogil:
    if size == 0 or not _fits(image, size):
        return
    if image.loading:
        memcpy(field, image.data + image.n, size)
    else:
        memcpy(image.data + image.n, field, size)
    image.n += size


cdef void image_same(Image* image, const void* field, uint64_t size) noexcept nogil:
    if size == 0 or not _fits(image, size):
        return
    if not image.loading:
        memcpy(image.data + image.n, field, size)
    elif memcmp(image.data + image.n, field, size) != 0:
        image.code = ERR_IMAGE_OTHER
        return
    image.n += size


cdef inline bint _is_zero(const uint8_t* item, uint64_t size) noexcept nogil:
    # A byte that is 0, and each byte the same as the one before.
    return item[0] == 0 and memcmp(item, item + 1, size - 1) == 0


cdef void image_sparse(Image* image, void* items, uint64_t n, uint64_t size) noexcept nogil:
    cdef uint8_t* at = <uint8_t*>items
    cdef uint64_t i, count = 0, next_free = 0
    cdef uint32_t place = 0
    image_match(image, n)
    if n > <uint64_t>0xFFFFFFFF:
        image_fault(image, ERR_IMAGE_OTHER)
    if image.code != OK:
        return
    if not image.loading:
        for i in range(n):
            count += not _is_zero(at + i * size, size)
        image_count(image, count, n)
        for i in range(n):
            if not _is_zero(at + i * size, size):
                place = <uint32_t>i
                image_move(image, &place, sizeof(place))
                image_move(image, at + i * size, size)
        return
    count = image_count(image, 0, n)
    memset(items, 0, n * size)
    for i in range(count):
        image_move(image, &place, sizeof(place))
        # In rising order, so that none can be outside or there twice.
        if place < next_free or place >= n:
            image_fault(image, ERR_IMAGE_OTHER)
        if image.code != OK:
            return
        next_free = <uint64_t>place + 1
        image_move(image, at + <uint64_t>place * size, size)


@cython.final
cdef class ImageBuffer:
    """The bytes of an image.

    Args:
        given: What is to be read; without it, one is written.
    """

    def __cinit__(self, bytes given=None):
        self.given = given
        if given is not None:
            self.image.data = <uint8_t*>given
            self.image.room = len(given)
            self.image.loading = True

    def __dealloc__(self):
        if not self.image.loading:
            free(self.image.data)

    def finish(self, str what):
        """Says that all has been moved.

        Args:
            what: Whose image it is, for messages.

        Returns:
            The bytes that were written, or those that were read.

        Raises:
            ImageError: It ends too early or too late, or is of something of another shape.
        """
        raise_for_code(self.image.code, what)
        if not self.image.loading:
            return (<char*>self.image.data)[:self.image.n] if self.image.n else b""
        if self.image.n != self.image.room:
            raise_for_code(ERR_IMAGE_OTHER, f"{what}: {self.image.room - self.image.n} bytes more than are known")
        return self.given
