/*
 * Huge pages behind large blocks. Called by: backing.c.
 *
 * Whoever touches 64 MiB in small pages for the first time meets 16,384 page faults, and so does the next process, and
 * the next after the pages were given back: that takes several times as long as the copy. In huge pages it meets 32,
 * and to give them back is a matter of microseconds. The kernel makes none for a memfd by itself (unless it is told to,
 * for all programs), but it does when asked: MADV_COLLAPSE, Linux 6.1. That wants a range in which one small page
 * exists at least, and fills what is missing with zeros, so one page is reserved in each range before, and no more.
 *
 * It is help, and never needed: what has not become huge is reserved in small pages afterwards. A full machine or
 * control group refuses huge pages without killing for them, and a range that was refused is as it was before, but for
 * the page that was planted. Whoever is killed in between leaves pages in a block whose header does not tell of them;
 * the next owner reserves them again. Runs of two chunks or more begin at a multiple of a huge page (chunks.c); the
 * first one has the headers in it.
 */
#include "base/fault.h"
#include "heap/internal.h"
#include "sys/memory.h"

/* A block may be larger by this part of it, to end with a huge page. */
#define WASTE_PART 16
/* After a refusal (no huge page to be had, a control group near its limit) so many blocks go by: to ask in vain takes
 * time. */
#define PAUSE 64u

static uint64_t
huge_up(uint64_t off)
{
    return (off + SYS_HUGE_BYTES - 1) / SYS_HUGE_BYTES * SYS_HUGE_BYTES;
}

uint64_t
fmp_huge_end(const struct fmp_heap *heap, const struct fmp_block *block, uint64_t bytes)
{
    uint64_t end = fmp_page_up(bytes), payload = heap->classes[block->cls].payload;
    uint64_t huge = huge_up(block->payload + bytes) - block->payload;
    end = end < payload ? end : payload;
    return huge <= payload && huge - bytes <= bytes / WASTE_PART ? huge : end;
}

/* One page of each range, so that there is something to collapse. 0 or -errno. */
static int
plant(struct fmp_heap *heap, fmp_off from, fmp_off to)
{
    int rc = 0;
    for (; rc == 0 && from < to; from += SYS_HUGE_BYTES) {
        rc = sys_reserve_pages(heap->region->fd, from, FMP_PAGE_BYTES);
    }
    return rc;
}

/* An older kernel, or one that is told to make none for this program, says EINVAL, and is not asked again. */
static void
note_answer(struct fmp_heap *heap, int rc)
{
    heap->huge_ever = heap->huge_ever || rc == 0;
    heap->huge_never = rc == -EINVAL && !heap->huge_ever;
    heap->huge_pause = rc == 0 ? 0 : PAUSE;
}

bool
fmp_huge_make(struct fmp_heap *heap, const struct fmp_block *block, fmp_off from, fmp_off to)
{
    fmp_off run = fmp_chunk_off(heap, block->chunk);
    fmp_off first = from == block->payload && run % SYS_HUGE_BYTES == 0 ? run : huge_up(from);
    fmp_off last = to / SYS_HUGE_BYTES * SYS_HUGE_BYTES;
    if (block->cls < FMP_SMALL_CLASSES || last <= first) {
        return false;
    }
    if (heap->huge_never || heap->huge_pause > 0) {
        heap->huge_pause -= heap->huge_pause > 0;
        return false;
    }
    int rc = plant(heap, first, last);
    FMP_FAULT("heap:planted");
    if (rc == 0) {
        rc = sys_collapse_pages(fmp_at(heap->region, first), last - first);
    }
    FMP_FAULT("heap:huge");
    note_answer(heap, rc);
    return rc == 0;
}
