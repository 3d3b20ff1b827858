"""Writing down where a loop stands; see standing.pxd. Rings, pages and wall clocks are each process's own."""

from engine.core.image cimport Image, ImageBuffer, image_move
from engine.runtime.loop cimport LoopCore
from engine.runtime.replay cimport JournalPass

from engine.core.errors import NotKept


cdef void standing_image(LoopCore loop, JournalPass taken, Image* image) noexcept:
    image_move(image, &loop.now, sizeof(loop.now))
    image_move(image, &loop.started, sizeof(loop.started))
    image_move(image, &loop.feed_state, sizeof(loop.feed_state))
    image_move(image, &loop.inputs.step, sizeof(loop.inputs.step))
    image_move(image, &loop.inputs.fresh, sizeof(loop.inputs.fresh))
    image_move(image, loop.inputs.taken, sizeof(loop.inputs.taken))
    image_move(image, &loop.driver.n_outputs, sizeof(loop.driver.n_outputs))
    image_move(image, &loop.driver.outputs_hash, sizeof(loop.driver.outputs_hash))
    image_move(image, &loop.out.orders_seq, sizeof(loop.out.orders_seq))
    image_move(image, &loop.out.status.events, sizeof(loop.out.status.events))
    image_move(image, &loop.out.status.market_ts, sizeof(loop.out.status.market_ts))
    image_move(image, &taken.records, sizeof(taken.records))
    image_move(image, &taken.market, sizeof(taken.market))


def standing(LoopCore loop not None, JournalPass taken not None, bint emptied=False) -> bytes:
    """Where a loop stands.

    Args:
        loop: Between two inputs of a replay.
        taken: The replay's pass over the journal.
        emptied: Whether outputs that it keeps in memory have been taken.

    Raises:
        NotKept: It keeps all outputs of the run in memory.
    """
    if loop.driver.recorder is not None and not emptied:
        raise NotKept("engine.result keeps the whole session in memory")
    cdef ImageBuffer buffer = ImageBuffer()
    standing_image(loop, taken, &buffer.image)
    return buffer.finish("the engine's loop")


def stand(LoopCore loop not None, JournalPass taken not None, bytes state not None) -> None:
    """Puts a loop that has not begun where another stood.

    Args:
        loop: The loop.
        taken: Its pass over the journal, behind what the other had taken.
        state: As :func:`standing` gave it.

    Raises:
        ImageError: It is damaged.
    """
    cdef ImageBuffer buffer = ImageBuffer(state)
    standing_image(loop, taken, &buffer.image)
    buffer.finish("the engine's loop")
